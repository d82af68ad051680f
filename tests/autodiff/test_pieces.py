"""What is read from a tensor piece by piece goes back to it at once: its cost grows with what is read, not with n²."""

import numpy as np
import pytest

import chainrule as cr

X = np.random.default_rng(0).normal(size=(5, 3))
PLACES = np.array([[0, -1], [2, 2]])
WAYS = {
    "rows": lambda x: sum(((r * r).sum() * float(i) for i, r in enumerate(x)), cr.tensor(0.0)),
    "the same row often": lambda x: (x[1] * x[1]).sum() + (x[-4] * x[2]).sum(),
    "a row by both its numbers": lambda x: (x[1] * x[-4] * x[0]).sum(),
    "slices that overlap": lambda x: (x[1:4] * x[:3] * x[::2]).sum(),
    "index arrays": lambda x: (x[PLACES] ** 2).sum() + (x[[1, 1]] * x[[0, 3]]).sum(),
    "all kinds": lambda x: (
        (x[PLACES, 1] ** 2).sum() + (x[2] ** 3).sum() + (x[:, None, 0] * x[:, 1:]).sum() + (x**2).sum()
    ),
    "elements": lambda x: x[0, 0] * x[1, 1] * x[0, 0] + x[4, -1],
}


def dense(f):
    """The same with pieces taken by products with matrices of zeros and ones."""

    class Dense:
        def __init__(self, x):
            self.x = x

        def __getitem__(self, index):
            places = np.arange(X.size).reshape(X.shape)[index]
            rows = np.eye(X.size)[np.ravel(places)]
            return cr.reshape(cr.matmul(rows, cr.reshape(self.x, -1)), np.shape(places))

        def __iter__(self):
            return (self[i] for i in range(len(X)))

        def __pow__(self, n):
            return self.x**n

    return lambda x: f(Dense(x))


@pytest.mark.parametrize("f", WAYS.values(), ids=WAYS)
def test_pieces_are_put_back_where_they_were_taken_to_second_order(f):
    def slope(f):
        return lambda x: (cr.grad(f)(x) * np.cos(np.arange(15.0)).reshape(5, 3)).sum()

    for ours, theirs in ((f, dense(f)), (slope(f), slope(dense(f)))):
        expected = cr.grad(theirs)(cr.tensor(X)).numpy()
        found = [cr.grad(ours)(cr.tensor(X)).numpy()]
        found += [cr.trace(cr.grad(ours), X).run(X, backend=backend) for backend in ("numpy", "xla")]
        for g in found:
            np.testing.assert_allclose(g, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("f", WAYS.values(), ids=WAYS)
def test_pieces_of_every_example_are_put_back_to_its_own(f):
    many = np.random.default_rng(1).normal(size=(4, 5, 3))
    ours = cr.per_example_grad(lambda w, x: f(w * x), batch=(1,))(np.ones((5, 3)), many).numpy()
    for g, x in zip(ours, many, strict=True):
        np.testing.assert_allclose(g, cr.grad(lambda w, x=x: f(w * x))(np.ones((5, 3))).numpy(), rtol=1e-12)


def test_reading_every_row_makes_one_adjoint_and_not_one_a_row():
    graph = cr.trace(lambda x: sum(((r * r).sum() for r in x), cr.tensor(0.0)), np.zeros((50, 3))).reverse()
    ops = [node.op for node in graph.nodes]
    assert ops.count("put_pieces") == 1
    assert "put_add" not in ops
    assert all(node.size <= 3 for node in graph.nodes if node.op not in ("put_pieces", "input"))


def test_a_single_piece_is_put_back_by_itself():
    graph = cr.trace(lambda x: (x[1] ** 2).sum(), X).reverse()
    assert [node.op for node in graph.nodes].count("put_add") == 1
