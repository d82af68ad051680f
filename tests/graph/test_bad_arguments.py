"""Whatever stands for an argument: a function gives an answer, or an error of ours that says what was expected."""

import contextlib
import inspect

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ArgumentError, ChainruleError, ShapeError
from chainrule.graph import functions as F

ROWS = np.arange(6.0).reshape(2, 3) + 0.5
HALVES = np.full((2, 3), 0.5)
BITS = {"x": np.array([[1, 2, 3]]), "y": np.array([[1, 2, 3]])}
USUAL = {
    "x": ROWS, "y": ROWS, "t": HALVES, "p": HALVES, "a": ROWS, "b": ROWS, "condition": ROWS > 3, "xs": [ROWS, ROWS],
    "axis": 0, "keepdims": False, "ddof": 0, "labels": np.array([0, 1]), "logits": ROWS, "classes": 3, "ord": None,
    "dtype": np.float32, "shape": (3, 2), "axes": (1, 0), "first": 0, "second": 1, "indices": [0, 1], "index": [0, 1],
    "value": 1.0, "weight": np.ones(3), "bias": np.zeros(3), "eps": 1e-5, "low": 0.0, "high": 1.0, "alpha": 1.0,
    "negative_slope": 0.1, "approximate": "none", "delta": 1.0, "label_smoothing": 0.1, "ignore_index": -100,
    "key": 1, "mean": 0.0, "std": 1.0, "n": 3, "data": [1.0], "requires_grad": False, "k": 1,
}  # fmt: skip
"""An argument that is right, by its name."""
OWN = {
    "linear": {"weight": np.ones((4, 3)), "bias": np.ones(4)}, "matmul": {"y": ROWS.T}, "squeeze": {"x": ROWS[:1]},
    "broadcast_to": {"shape": (4, 2, 3)}, "bernoulli": {"p": 0.5}, "bitwise_and": BITS, "bitwise_or": BITS,
    "bitwise_xor": BITS, "bitwise_not": BITS, "take_along_axis": {"indices": [[0, 1, 1]]},
}  # fmt: skip
"""Where a function needs another."""
BAD = [
    None, "a", "1", b"x", 2.5, -1, -2, 7, True, float("nan"), float("inf"), 10**30, 10**400, 1j, object(), [], (),
    (0, 0), (2.0,), (-1,), (-1, -1), [None], ["a"], [[1, 2], [3]], {}, {1}, slice(0, 1), ..., np.float32(1.5),
    np.int64(1), np.array(2.5), np.array([0, 1]), np.zeros((2, 3)), np.array(["a"]), np.array([None]), int, len,
    np.datetime64("2020"), np.ma.masked_array([1.0, 2.0], [0, 1]), cr.tensor([0, 1]), cr.nn.Linear(2, 2), complex,
]  # fmt: skip
FUNCTIONS = {name: getattr(F, name) for name in F.__all__} | {
    f.__name__: f for f in (cr.random.uniform, cr.random.normal, cr.random.bernoulli, cr.random.permutation)
}
FUNCTIONS |= {"tensor": cr.tensor, "norm": cr.linalg.norm}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::UserWarning", "ignore::DeprecationWarning")
def test_an_argument_is_taken_or_refused_in_words(name):
    function = FUNCTIONS[name]
    right = {argument: (USUAL | OWN.get(name, {}))[argument] for argument in inspect.signature(function).parameters}
    function(**right)
    for argument, usual in right.items():
        arrays = {n: x for n, x in right.items() if isinstance(x, np.ndarray) and n != argument}
        # Operands make the same nodes in both ways; settings may be looked at where values are known only.
        traced = arrays and not isinstance(usual, np.ndarray)
        for bad in BAD:
            _taken_or_refused(function, right | {argument: bad}, {})
            if traced:
                _taken_or_refused(function, right | {argument: bad}, arrays)


def _taken_or_refused(function, given, arrays):
    def call(*xs):
        return function(**given | dict(zip(arrays, xs, strict=True)))

    with contextlib.suppress(ChainruleError):
        cr.trace(call, *arrays.values()) if arrays else call()


@pytest.mark.parametrize(
    ("call", "kind", "said"),
    [
        (lambda: cr.reshape(ROWS, None), ShapeError, "reshape: not a shape: expected sizes .* got None"),
        (lambda: cr.tensor(ROWS).reshape(2.0, 3), ShapeError, "reshape: not a shape"),
        (
            lambda: cr.broadcast_to(1.0, (-1,)),
            ShapeError,
            "broadcast_to: not a shape: expected sizes of at least 0, got",
        ),
        (lambda: cr.broadcast_to(1.0, {3}), ShapeError, "broadcast_to: not a shape"),
        (lambda: cr.random.normal((2.0,)), ShapeError, "shape: not a shape"),
        (lambda: cr.random.normal((2**40, 2**40)), ShapeError, "shape: too many elements"),
        (lambda: cr.random.normal(3, dtype=complex), ShapeError, "dtype: not a dtype that tensors can have"),
        (lambda: cr.random.uniform(3, dtype="int16"), ShapeError, "dtype: .* expected float32 or float64, got int16"),
        (lambda: cr.random.uniform(3, high=np.nan), ArgumentError, "high: .* expected a number, got nan"),
        (lambda: cr.one_hot([0], 2.5), ArgumentError, "classes: .* an integer .* got 2.5"),
        (lambda: cr.one_hot([0], -2), ArgumentError, "classes: .* got -2"),
        (lambda: cr.std(ROWS, ddof="1"), ArgumentError, "ddof: .* expected a number, got '1'"),
        (lambda: cr.std(ROWS, ddof=None), ArgumentError, "ddof: .* got None"),
        (lambda: cr.var(ROWS, ddof=np.nan), ArgumentError, "ddof: .* got nan"),
        (lambda: cr.sum(ROWS, 0, "no"), ArgumentError, "keepdims: .* expected True or False, got 'no'"),
        (lambda: cr.std(ROWS, 0, None), ArgumentError, "keepdims: .* got None"),
        (lambda: cr.linalg.norm(ROWS, None, 0, 7), ArgumentError, "keepdims: .* got 7"),
        (lambda: cr.tensor(1.0, requires_grad="no"), ArgumentError, "requires_grad: .* got 'no'"),
        (lambda: cr.cross_entropy(ROWS, [0, 1], "0.1"), ArgumentError, r"label_smoothing: .* in \[0, 1\], got '0.1'"),
        (lambda: cr.cross_entropy(ROWS, [0, 1], ignore_index=None), ArgumentError, "ignore_index: .* got None"),
        (lambda: cr.stack(None), ArgumentError, "stack: not a sequence: expected a list of tensors, got None"),
        (lambda: cr.concatenate({1, 2}), ArgumentError, "concatenate: not a sequence"),
        (lambda: cr.transpose(ROWS, 1), ArgumentError, "transpose, axes: not a sequence"),
        (lambda: cr.take(ROWS, [[0, 1], [0]]), ShapeError, "indexing: not a rectangular array of numbers"),
        (lambda: cr.tensor(ROWS, dtype="none"), ShapeError, "dtype: no such dtype"),
        (lambda: cr.gelu(ROWS, np.array(["tanh", "none"])), ArgumentError, "approximate: unknown value"),
        (lambda: cr.elu(ROWS, 10**400), ArgumentError, "elu alpha: not an allowed value"),
    ],
)
def test_the_error_says_where_what_was_expected_and_found(call, kind, said):
    with pytest.raises(kind, match=said):
        call()


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_a_softmax_over_nothing_is_nothing(backend):
    for f in (cr.softmax, cr.log_softmax):
        assert cr.compile(f, backend=backend)(np.zeros((2, 0))).shape == (2, 0)
