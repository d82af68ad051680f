"""What the interpreter is said to hold at once is what it holds, by Python's own count of memory."""

import tracemalloc

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.backends import interpreter, liveness
from chainrule.backends.interpreter import compile_graph
from chainrule.graph.graph import LEAVES
from chainrule.graph.ops import OPS, Piece, Slot
from chainrule.graph.tensor import apply

rng = np.random.default_rng(0)
# Large enough for NumPy to compute in place where it can, and for the graphs to be looked at node by node.
X, T = rng.uniform(0.1, 0.9, (2, 600, 512)).astype(np.float32)
ROW, WIDE = np.ones(512, np.float32), np.ones((512, 512), np.float32)
LABELS = np.arange(600, dtype=np.int32) % 300


def most(function):
    """The result, and the most bytes that were held while it was made."""
    function()
    tracemalloc.start()
    result = function()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return result, peak


YES, BITS = X > 0.5, X.view(np.int32)
ALL = (("slice", None, None, None),)
CALLS = {
    **dict.fromkeys(("negative", "exp", "expm1", "log", "log1p", "sqrt", "square", "sin", "cos", "erf"), ((X,), {})),
    **dict.fromkeys(("tanh", "absolute", "sign", "floor", "identity", "materialize", "stop_gradient"), ((X,), {})),
    **dict.fromkeys(("isfinite", "sigmoid", "softplus", "relu", "silu", "gelu"), ((X,), {})),
    **dict.fromkeys(("add", "subtract", "multiply", "divide", "power", "maximum", "minimum"), ((X, T), {})),
    **dict.fromkeys(("less", "less_equal", "greater", "greater_equal", "equal", "not_equal"), ((X, T), {})),
    "depends_on": ((X, T), {}),
    **dict.fromkeys(("squared_error", "absolute_error", "binary_cross_entropy"), ((X, T), {})),
    **dict.fromkeys(("binary_cross_entropy_with_logits", "adjoint_product", "adjoint_quotient"), ((X, T), {})),
    **dict.fromkeys(("bitwise_and", "bitwise_or", "bitwise_xor"), ((BITS, BITS), {})),
    **dict.fromkeys(("logical_and", "logical_or"), ((YES, YES), {})),
    **dict.fromkeys(("sum", "max", "min"), ((X,), {"axes": (0,), "keepdims": False})),
    **dict.fromkeys(("softmax", "log_softmax", "cumsum", "argsort", "argmax", "argmin"), ((X,), {"axis": 1})),
    "logical_not": ((YES,), {}), "bitwise_not": ((BITS,), {}), "where": ((YES, X, T), {}),
    "within": ((BITS,), {"low": 0, "high": None, "besides": None, "what": "number"}),
    "cast": ((X,), {"dtype": "int32"}),
    "leaky_relu": ((X,), {"negative_slope": 0.1}), "elu": ((X,), {"alpha": 1.0}), "huber": ((X, T), {"delta": 1.0}),
    "broadcast_to": ((ROW,), {"shape": X.shape}), "reshape": ((X,), {"shape": (512, 600)}),
    "transpose": ((X,), {"axes": (1, 0)}), "flip": ((X,), {"axes": (0,)}), "concatenate": ((X, T), {"axis": 0}),
    "getitem": ((X, LABELS), {"index": (Slot(0), *ALL)}),
    "put_add": ((X, LABELS), {"index": (Slot(0), *ALL), "shape": X.shape}),
    "put_pieces": ((X, T), {"pieces": (Piece((0, *ALL, *ALL), 0), Piece((1, *ALL, *ALL), 0)), "shape": (2, *X.shape)}),
    "cross_entropy": ((X, LABELS), {"label_smoothing": 0.0}), "matmul": ((X, WIDE), {}), "linear": ((X, WIDE, ROW), {}),
    "std": ((X,), {"axes": (0,), "eps": 0.0}), "standardize": ((X,), {"axes": (0,), "eps": 1e-5}),
    "batch_norm": ((X, ROW, ROW), {"axes": (0,), "eps": 1e-5}), "layer_norm": ((X, ROW, ROW), {"eps": 1e-5}),
}  # fmt: skip
OTHERWISE = {"call", "scan", "loop", "get_item", "in_range", "random_uniform", "random_normal", "random_permutation"}
"""Operations of which other tests say it."""


@pytest.mark.parametrize("name", sorted(set(OPS) - set(LEAVES) - OTHERWISE))
def test_what_a_kernel_holds_besides_its_result_is_as_the_table_says(name):
    operands, attrs = CALLS[name]
    graph = cr.trace(lambda *xs: apply(name, *xs, **attrs), *operands)
    program = compile_graph(graph)
    _, peak = most(lambda: program(operands))
    stated = liveness.live_bytes(graph, set())
    # What a kernel looks at element by element, such as a comparison, takes a byte each.
    assert stated == pytest.approx(peak, rel=0.15, abs=X.size)


def test_random_numbers_take_what_the_table_says():
    drop = nn.Dropout(0.5)
    trainer = cr.Trainer(nn.Sequential(drop, nn.Linear(512, 1)), nn.MSELoss(), cr.optim.SGD(0.1), backend="numpy")
    state, y = trainer.step("numpy").state(), X[:, :1]
    graph = trainer.step("numpy").training(state, [X, y], 600)
    assert any(node.op == "random_uniform" for node in graph.nodes)
    stated, peak = _stated_and_held(graph, [*cr.tree.flatten(state)[0], X, y, np.arange(600, dtype=np.int32) % 300])
    assert stated == pytest.approx(peak, rel=0.05)


def _stated_and_held(graph, values):
    program = compile_graph(graph)
    _, peak = most(lambda: program(values))
    return liveness.live_bytes(graph, interpreter._stretched_by_numpy(graph)), peak


@pytest.mark.parametrize("draw", [cr.random.normal, cr.random.permutation, cr.random.uniform])
def test_a_draw_holds_what_the_table_says(draw):
    graph = cr.trace(lambda key: draw(300_000, key=key), np.array([1, 2], np.uint32))
    _, peak = most(lambda: graph.run(np.array([1, 2], np.uint32)))
    assert liveness.live_bytes(graph, set()) == pytest.approx(peak, rel=0.15)


@pytest.mark.parametrize("optimizer", [cr.optim.Adam(), cr.optim.LBFGS()], ids=["Adam", "LBFGS"])
def test_a_whole_step_holds_what_is_stated(optimizer):
    inside = [nn.Linear(512, 256), nn.BatchNorm(256), nn.GELU(), nn.Linear(256, 256), nn.SiLU(), nn.LayerNorm(256)]
    trainer = cr.Trainer(nn.Sequential(*inside, nn.Linear(256, 300)), nn.CrossEntropyLoss(), optimizer, backend="numpy")
    step = trainer.step("numpy")
    state = step.state()
    graph = step.training(state, [X, LABELS], 600)
    stated, peak = _stated_and_held(graph, [*cr.tree.flatten(state)[0], X, LABELS, LABELS])
    assert stated == pytest.approx(peak, rel=0.05)


@pytest.mark.parametrize(
    ("name", "f"),
    {
        "views take nothing": lambda x: cr.exp(x).T[2:].reshape(-1, 1)[::2].sum(),
        "a turned array is copied to be reshaped": lambda x: cr.exp(x).T.reshape(-1) * 2.0,
        "the rows of a slice are not": lambda x: cr.exp(x)[10:500].reshape(-1) * 2.0,
        "a stretched operand is not made": lambda x: cr.exp(x) * cr.sum(x, 0),
        "a loop keeps what it gives for every step": lambda x: cr.scan(lambda c, t: (c * t, cr.exp(c)), x[0], x)[1],
    }.items(),
    ids=lambda case: case if isinstance(case, str) else "",
)
def test_memory_is_counted_where_it_is_taken(name, f):
    graph = cr.trace(f, X).simplify()
    stated, peak = _stated_and_held(graph, [X])
    assert stated == pytest.approx(peak, rel=0.05)
