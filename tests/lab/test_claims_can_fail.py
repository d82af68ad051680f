"""A claim does not hold where the engine does not keep it: each lab named here notices what is broken."""

from typing import Any

import chainrule as cr
from chainrule import lab
from chainrule.autodiff import reverse
from chainrule.autodiff.rules import RULES, Formula
from chainrule.graph import functions as F


def broken(name: str, *checks: str) -> None:
    result = lab.run(name)
    assert not result.holds
    failed = [sentence for sentence, true in result.measured.checks.items() if not true]
    assert all(any(words in sentence for sentence in failed) for words in checks), failed


def rule(monkeypatch: Any, op: str, *adjoints: Any) -> None:
    """Replace the first adjoints of an operation's rule."""
    kept = RULES[op]
    monkeypatch.setitem(RULES, op, Formula(kept.text, (*adjoints, *kept.adjoints[len(adjoints) :])))


def test_relu_that_stops_the_gradient_at_zero(monkeypatch):
    rule(monkeypatch, "relu", lambda g, y, x: F.where(x > 0.0, g, 0.0))
    broken("module-gradients", "those of the lecture's list")


def test_a_batch_norm_whose_gradient_forgets_the_statistics(monkeypatch):
    def adjoint(g, y, x, scale, shift):
        axes, eps = y.attrs["axes"], y.attrs["eps"]
        return g * scale / F.sqrt(F.var(x, axes, keepdims=True) + eps)

    rule(monkeypatch, "batch_norm", adjoint)
    broken("module-gradients", "finite differences", "composition")


def test_a_tie_that_goes_to_the_first(monkeypatch):
    rule(
        monkeypatch,
        "maximum",
        lambda g, z, x, y: F.where(x >= y, g, 0.0),
        lambda g, z, x, y: F.where(x >= y, 0.0, g),
    )
    broken("module-gradients", "those of the lecture's list")


def test_a_linear_rule_that_is_a_little_off(monkeypatch):
    weight = RULES["linear"].adjoints[1]
    kept = RULES["linear"].adjoints[0]
    rule(monkeypatch, "linear", kept, lambda g, y, *xs: weight(g, y, *xs) * (1.0 + 1e-6))
    broken("graph-reversal", "finite differences")


def test_a_log_softmax_that_saturates(monkeypatch):
    def adjoint(g, y, x):
        p = F.softmax(x, y.attrs["axis"])
        g = g / F.where(p > 0.0, p, 1.0) * F.cast(p > 0.0, x.dtype)
        return p * (g - F.sum(g * p, y.attrs["axis"], keepdims=True))

    rule(monkeypatch, "log_softmax", adjoint)
    broken("softmax-vanishes-logsoftmax-does-not", "p − onehot for every gap", "log-softmax learns")


def test_a_fan_out_that_keeps_the_last_contribution_only(monkeypatch):
    collect = reverse._collect
    monkeypatch.setattr(reverse, "_collect", lambda found, x, g: (found.pop(x.id, None), collect(found, x, g)))
    broken("fan-out", "n times the gradient", "finite differences", "sum over its uses")


def test_an_adjoint_that_does_not_name_its_node(monkeypatch):
    def nameless(found, x, g):
        found[x.id] = F.add(found[x.id], g) if x.id in found else F.identity(g)

    monkeypatch.setattr(reverse, "_collect", nameless)
    broken("graph-reversal", "exactly one adjoint")


def test_a_compiled_function_that_makes_a_program_a_call(monkeypatch):
    monkeypatch.setattr("chainrule.lab.claims.data_dependent.STEPS", 20)
    monkeypatch.setattr("chainrule.backends.compile._type", lambda leaf: object())
    broken("data-dependent", "one program a structure")


def test_nesterov_that_is_plain_momentum(monkeypatch):
    plain = cr.optim.SGD.__init__
    monkeypatch.setattr(cr.optim.SGD, "__init__", lambda self, lr, momentum=0.0, **_: plain(self, lr, momentum))
    broken("nesterov-equivalence", "the two forms agree")


def test_an_adam_whose_correction_counts_one_step_too_many(monkeypatch):
    from chainrule.optim import adam

    right = adam.one_less_power
    monkeypatch.setattr(adam, "one_less_power", lambda beta, step: right(beta, step + 1))
    broken("adam-bias-correction", "with the exponent t")
