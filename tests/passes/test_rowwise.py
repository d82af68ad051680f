"""Whether rows are kept apart is said of a graph rightly: where it says so, computing a part of the rows is a part."""

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.passes.rowwise import rowwise, same_but_for_rows

ROWS = 6
X = np.random.default_rng(0).normal(size=(ROWS, 4, 3))
W = np.random.default_rng(1).normal(size=(3, 3))
TABLE = np.random.default_rng(2).normal(size=(9, 5))

APART: dict[str, Any] = {
    "elementwise": lambda x: cr.tanh(x) * 2.0 + x,
    "a bias": lambda x: x + cr.tensor([1.0, 2.0, 3.0]),
    "sums of features": lambda x: x.sum(2) / (1.0 + abs(x).max((1, 2), keepdims=True)[:, 0]),
    "softmax of features": lambda x: cr.log_softmax(cr.softmax(x, 1), -1),
    "argmax": lambda x: cr.argmax(x, 2),
    "argsort": lambda x: cr.argsort(x, 2),
    "flattened": lambda x: cr.reshape(x, (x.shape[0], 12)),
    "moved and back": lambda x: cr.transpose(cr.transpose(x, (2, 0, 1)) * 2.0, (1, 2, 0)),
    "a product of each row": lambda x: x @ cr.transpose(x, (0, 2, 1)),
    "a layer": lambda x: cr.linear(x, cr.tensor(W)),
    "rows of a table": lambda x: cr.tensor(TABLE)[cr.argmax(x, 1)],
    "side by side": lambda x: cr.concatenate([x, x * 0.5, cr.tanh(x)], axis=1),
    "a part of each row": lambda x: x[:, 1:3, 0],
    "normalised rows": lambda x: cr.layer_norm(x, cr.tensor(np.ones(3)), cr.tensor(np.zeros(3))),
    "losses of the rows": lambda x: cr.cross_entropy(x, cr.argmax(x, 2)),
    "the smallest": lambda x: cr.min(x, 2) + cr.argmin(x, 1).astype(float).sum(1, keepdims=True),
    "a number beside": lambda x: (x[:, 0], cr.tensor(W).sum()),
}
MIXED: dict[str, Any] = {
    "the mean of the rows": lambda x: x - x.mean(0),
    "softmax over rows": lambda x: cr.softmax(x, 0),
    "a sum": lambda x: x.sum(),
    "rows in another order": lambda x: x[::-1],
    "neighbours": lambda x: x[1:] - x[:-1],
    "the first row": lambda x: x - x[0],
    "all rows' products": lambda x: x[:, 0] @ cr.transpose(x[:, 0], (1, 0)),
    "rows flattened away": lambda x: cr.reshape(x, (-1,)),
    "features first": lambda x: cr.transpose(x, (1, 0, 2)),
    "standardised over rows": lambda x: cr.standardize(x, (0,), 1e-5),
    "an order of the rows": lambda x: cr.argsort(x, 0),
    "a running sum": lambda x: cr.cumsum(x, 0),
    "rows below one another": lambda x: cr.concatenate([x, x], axis=0),
    "each its own number": lambda x: x * np.arange(1.0, x.shape[0] + 1)[:, None, None],
}


def graph_of(f: Any, rows: int = ROWS) -> Any:
    return cr.trace(f, np.zeros((rows, *X.shape[1:])))


@pytest.mark.parametrize("name", APART)
def test_rows_that_are_kept_apart_are_seen_and_are(name: str) -> None:
    graph, part = graph_of(APART[name]).simplify(), graph_of(APART[name], 2)
    found = rowwise(graph, graph.inputs[:1])
    assert found is not None
    assert found[0]
    assert same_but_for_rows(graph_of(APART[name]), graph_of(APART[name], ROWS + 1), (ROWS, ROWS + 1))
    whole, some = (list(y) if isinstance(y, tuple) else [y] for y in (graph.run(X), part.run(X[2:4])))
    for split, all_rows, rows in zip(found, whole, some, strict=True):
        assert np.allclose(all_rows[2:4] if split else all_rows, rows, rtol=1e-12)


@pytest.mark.parametrize("name", MIXED)
def test_rows_that_are_mixed_are_never_said_to_be_kept_apart(name: str) -> None:
    graph = graph_of(MIXED[name]).simplify()
    assert rowwise(graph, graph.inputs[:1]) is None


@pytest.mark.parametrize(
    "f",
    [lambda x: x * x.shape[0], lambda x: x + np.linspace(0, 1, x.shape[0])[:, None, None] * 0 + len(x)],
    ids=["the number of rows", "a constant a row"],
)
def test_what_is_made_of_the_number_of_rows_is_seen(f: Any) -> None:
    assert not same_but_for_rows(graph_of(f), graph_of(f, ROWS + 1), (ROWS, ROWS + 1))
