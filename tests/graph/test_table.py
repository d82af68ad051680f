"""The tables of operations, rules, kernels, batching and decompositions are complete and agree with each other."""

import pytest

from chainrule.autodiff import batch
from chainrule.autodiff.rules import RULES, Formula, Joint, NotDifferentiable, NotImplementedYet
from chainrule.backends import numpy as interpreter
from chainrule.backends.kernels import KERNELS
from chainrule.backends.xla import lower
from chainrule.graph.decompositions import DECOMPOSITIONS
from chainrule.graph.graph import LEAVES
from chainrule.graph.ops import OPS

COMPUTED = sorted(set(OPS) - set(LEAVES))


@pytest.mark.parametrize("name", COMPUTED)
def test_every_operation_has_a_formula_a_rule_and_a_kernel_on_both_backends(name):
    assert OPS[name].name == name
    assert "=" in OPS[name].formula or "~" in OPS[name].formula
    assert name in RULES
    assert name in KERNELS or (name in interpreter._OWN and name in lower.OWN)


@pytest.mark.parametrize("name", COMPUTED)
def test_every_operation_can_be_batched(name):
    assert OPS[name].elementwise or name in batch._SOME or name in batch._ALL


@pytest.mark.parametrize("name", COMPUTED)
def test_every_rule_is_in_one_of_four_states_and_says_its_formula_or_its_reason(name):
    rule = RULES[name]
    if isinstance(rule, Formula):
        assert "g" in rule.text.lower()
        assert callable(rule.adjoint(0)) or callable(rule.adjoint(1))
    elif isinstance(rule, Joint):
        assert "g" in rule.text
        assert callable(rule.adjoints)
    else:
        assert isinstance(rule, NotDifferentiable | NotImplementedYet)
        assert rule.reason


def test_no_row_is_about_an_unknown_operation():
    for table in (RULES, KERNELS, DECOMPOSITIONS, interpreter._OWN, lower.OWN, batch._SOME, batch._ALL):
        assert set(table) <= set(OPS)


def test_exactly_the_fused_operations_have_a_decomposition():
    assert {name for name, op in OPS.items() if op.fused} == set(DECOMPOSITIONS)
