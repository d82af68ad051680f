"""A guarded step: where its record is not finite the state stays what it was, whatever the state is made of."""

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.passes.guard import guarded, with_finite_flag


def step(w: Any, m: Any, count: Any, kept: Any, x: Any) -> Any:
    """A step with all kinds of state: the loss comes of it, of the data alone, not at all, or unchanged."""
    loss = cr.sum(cr.log(x) * w)
    m = m * 0.5 + x
    return w - 0.1 * m, m, count + np.int32(1), kept, cr.stack([loss, cr.sum(m)])


def safe(graph: Any, states: int) -> Any:
    return guarded(with_finite_flag(graph, graph.outputs[-1:]), states).verify()


STATE = (np.array([1.0, 2.0]), np.array([0.5, -0.5]), np.array(3, np.int32), np.array([7.0]))
GOOD, BAD = np.array([1.0, 2.0]), np.array([1.0, -2.0])


@pytest.fixture(params=["numpy", "xla"])
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


def test_a_finite_step_is_what_it_was_without_the_guard(backend: str) -> None:
    graph = cr.trace(step, *STATE, GOOD)
    plain, guarded_too = (g.run(*STATE, GOOD, backend=backend) for g in (graph, safe(graph, 4)))
    for before, after in zip(plain, guarded_too[:-1], strict=True):
        assert np.array_equal(before, after)
    assert plain[0].tolist() == pytest.approx([1.0 - 0.125, 2.0 - 0.175])


def test_a_step_that_is_not_finite_leaves_the_state_and_gives_its_record(backend: str) -> None:
    *state, record, ok = safe(cr.trace(step, *STATE, BAD), 4).run(*STATE, BAD, backend=backend)
    assert all(np.array_equal(new, old) for new, old in zip(state, STATE, strict=True))
    assert not ok
    assert np.isnan(record[0])
    assert record[1] == pytest.approx(-1.0)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_every_kind_of_not_finite_is_guarded_against(bad: float) -> None:
    graph = cr.trace(lambda w, x: (w + 1.0, cr.stack([cr.sum(x)])), 0.0, GOOD)
    state, *_ = safe(graph, 1).run(0.0, np.array([bad, 1.0]))
    assert state == 0.0


def test_every_number_of_the_record_is_judged() -> None:
    graph = cr.trace(lambda w, x: (w + 1.0, cr.stack([cr.sum(w), cr.sum(cr.log(x))])), 0.0, GOOD)
    assert safe(graph, 1).run(0.0, BAD)[0] == 0.0
    assert safe(graph, 1).run(0.0, GOOD)[0] == 1.0


def test_a_new_state_that_the_loss_is_made_of_is_guarded_too(backend: str) -> None:
    def advance(w: Any, x: Any) -> Any:
        new = w * cr.log(x)
        return new, cr.stack([cr.sum(new)])

    graph = safe(cr.trace(advance, STATE[0], GOOD), 1)
    assert graph.run(STATE[0], BAD, backend=backend)[0].tolist() == [1.0, 2.0]
    assert graph.run(STATE[0], GOOD, backend=backend)[0].tolist() == pytest.approx([0.0, 2 * np.log(2)])


def test_a_state_that_is_another_states_new_value_is_guarded(backend: str) -> None:
    def swap(a: Any, b: Any, x: Any) -> Any:
        new = a + b
        return new, new, cr.stack([cr.sum(cr.log(x))])

    graph = safe(cr.trace(swap, STATE[0], STATE[1], GOOD), 2)
    first, second, *_ = graph.run(STATE[0], STATE[1], BAD, backend=backend)
    assert first.tolist() == [1.0, 2.0]
    assert second.tolist() == [0.5, -0.5]


def test_states_that_change_places_are_guarded(backend: str) -> None:
    graph = safe(cr.trace(lambda a, b, x: (b, a, cr.stack([cr.sum(cr.log(x))])), STATE[0], STATE[1], GOOD), 2)
    first, second, *_ = graph.run(STATE[0], STATE[1], BAD, backend=backend)
    assert first.tolist() == [1.0, 2.0]
    assert second.tolist() == [0.5, -0.5]


def test_a_record_is_of_the_step_itself_even_where_it_is_made_of_the_new_state(backend: str) -> None:
    body = cr.trace(lambda w, x: (w + x, cr.stack([w + x]), (w + x) * 2, x < 0), 1.0, 5.0)
    state, record, double, ok = guarded(body, 1).run(1.0, 5.0, backend=backend)
    assert (state, record.tolist(), double, ok) == (1.0, [6.0], 12.0, False)
