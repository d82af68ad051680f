"""The tables of operations, rules, kernels, batching, rows and costs are complete and agree with each other."""

import dataclasses
import inspect

import pytest

from chainrule.autodiff import batch
from chainrule.autodiff.rules import RULES, Formula, Joint, NotDifferentiable, NotImplementedYet
from chainrule.backends import interpreter
from chainrule.backends.kernels import COSTS, KERNELS, cost_of
from chainrule.backends.xla import lower
from chainrule.graph.decompositions import DECOMPOSITIONS
from chainrule.graph.graph import LEAVES
from chainrule.graph.ops import OPS, OTHER, OVER_AXES
from chainrule.passes import rowwise

COMPUTED = sorted(set(OPS) - set(LEAVES))


def lacking(name):
    """What an operation lacks of what the tables must say of one of its kind."""
    op = OPS[name]
    other = op.kind is OTHER
    said = {
        "a formula": "=" in op.formula or "~" in op.formula,
        "a rule": name in RULES,
        "a kernel": name in KERNELS or (name in interpreter._OWN and name in lower.OWN),
        "a decomposition": not op.fused or name in DECOMPOSITIONS,
        "a setting that names its axes": op.kind is not OVER_AXES
        or bool({"axis", "axes"} & set(inspect.signature(op.infer).parameters)),
        "a row of autodiff/batch.py": not other or name in batch._SOME or name in batch._ALL,
        "a row of passes/rowwise.py": not other or name in rowwise._RULES or name in rowwise._MIXING,
        "whether one kernel can hold it": not other or cost_of(name).fusible is not None,
    }
    return [part for part, there in said.items() if not there]


@pytest.mark.parametrize("name", COMPUTED)
def test_every_operation_has_all_its_parts(name):
    assert OPS[name].name == name
    assert lacking(name) == []


@pytest.mark.parametrize(
    ("name", "table", "part"),
    [
        ("tanh", RULES, "a rule"),
        ("tanh", KERNELS, "a kernel"),
        ("softmax", DECOMPOSITIONS, "a decomposition"),
        ("reshape", batch._ALL, "a row of autodiff/batch.py"),
        ("reshape", rowwise._RULES, "a row of passes/rowwise.py"),
        ("reshape", COSTS, "whether one kernel can hold it"),
    ],
)
def test_a_part_that_is_left_out_is_named(name, table, part, monkeypatch):
    monkeypatch.delitem(table, name)
    assert lacking(name) == [part]


def test_an_operation_over_axes_names_them(monkeypatch):
    blind = dataclasses.replace(OPS["softmax"], infer=lambda x: (x.shape, x.dtype))
    monkeypatch.setitem(OPS, "softmax", blind)
    assert lacking("softmax") == ["a setting that names its axes"]


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
    tables = (RULES, KERNELS, COSTS, DECOMPOSITIONS, interpreter._OWN, lower.OWN, batch._SOME, batch._ALL)
    for table in (*tables, rowwise._RULES, rowwise._MIXING):
        assert set(table) <= set(OPS)


def test_exactly_the_fused_operations_have_a_decomposition():
    assert {name for name, op in OPS.items() if op.fused} == set(DECOMPOSITIONS)


def test_no_row_says_what_the_kind_says_already():
    for name, op in OPS.items():
        if op.kind is not OTHER:
            assert name not in batch._ALL
            assert name not in batch._SOME
            assert cost_of(name).fusible is not True
