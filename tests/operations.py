"""Every operation, by functions of one array of the shape (3, 4)."""

import numpy as np

import chainrule as cr
import recipes
from chainrule.graph.elementwise import within
from chainrule.graph.graph import LEAVES, Graph
from chainrule.graph.indexing import put_add
from chainrule.graph.ops import TUPLE, Piece, Slot
from chainrule.graph.tensor import apply

RNG = np.random.default_rng(5)
X, WHOLE = RNG.normal(size=(3, 4)), RNG.integers(-3, 4, (3, 4))
INTS = np.array([0, 2, 1])

PIECES = (Piece((Slot(0), ("slice", None, None, None)), 1), Piece((-1, ("slice", None, None, None)), 0))

EVERY = [
    *(
        getattr(cr, name)
        for name in ("negative", "exp", "expm1", "square", "sin", "cos", "tanh", "absolute", "sign", "floor")
    ),
    *(getattr(cr, name) for name in ("identity", "stop_gradient", "sigmoid", "softplus", "relu", "silu", "isfinite")),
    *(lambda x, f=f: f(cr.absolute(x) + 0.5) for f in (cr.log, cr.log1p, cr.sqrt)),
    *(lambda x, f=f: f(x, x[0]) for f in (cr.add, cr.subtract, cr.multiply, cr.divide, cr.maximum, cr.minimum)),
    *(
        lambda x, f=f: f(x, x[0])
        for f in (cr.less, cr.less_equal, cr.greater, cr.greater_equal, cr.equal, cr.not_equal)
    ),
    *(lambda x, f=f: f(x > 0, x < 0.5) for f in (cr.logical_and, cr.logical_or)),
    # Whatever it waits for, finite or not, the value passes as it is.
    lambda x: apply("depends_on", x, cr.concatenate([x, x / 0.0])),
    lambda x: apply("depends_on", x > 0, cr.log(-cr.absolute(x))),
    lambda x: cr.logical_not(x > 0),
    lambda x: cr.power(cr.absolute(x), cr.absolute(x)),
    *(lambda x, op=op: apply(op, cr.relu(x), cr.absolute(x)) for op in ("adjoint_product", "adjoint_quotient")),
    lambda x: cr.where(x > 0, x, 2.0),
    lambda x: x.astype("float32"),
    lambda x: x.astype("int32"),
    lambda x: x.astype(bool),
    lambda x: cr.broadcast_to(x, (2, 3, 4)),
    lambda x: x.reshape(2, 6),
    lambda x: x.T,
    lambda x: cr.flip(x, 0),
    lambda x: cr.concatenate([x, x[:1]]),
    lambda x: x[1:, ::-2],
    lambda x: x[INTS, None],
    lambda x: x[[0, -1, -1]],
    lambda x: x[INTS, INTS],
    lambda x: x[:, INTS],
    lambda x: x[np.array([[0, 2], [-1, 1]])],
    lambda x: put_add(x, (INTS * 0,), (2, 4)),
    lambda x: put_add(x, slice(1, 4), (5, 4)),
    lambda x: apply("put_pieces", x, x[0], cr.as_tensor(INTS), pieces=PIECES, shape=(9, 4)),
    lambda x: apply("put_pieces", x[0], x[1], pieces=recipes.TWO_ROWS, shape=(3, 4)),
    lambda x: x.sum(1, keepdims=True),
    lambda x: (x > 0).sum(),
    lambda x: x.max(0),
    lambda x: x.min(0),
    lambda x: x.argmax(1),
    lambda x: x.argmin(1),
    lambda x: x.argsort(0),
    lambda x: cr.sort(x),
    lambda x: x.topk(2)[0],
    *(lambda x, f=f: f(x.astype("int32"), 5) for f in (cr.bitwise_and, cr.bitwise_or, cr.bitwise_xor)),
    lambda x: ~x.astype("int32"),
    lambda x: cr.power(x.astype("int32"), (x > 0).astype("int32")),
    lambda x: apply("in_range", within(x.astype("int32"), -1000, 1000, "integer"), dtype="float64"),
    lambda x: x.cumsum(1),
    lambda x: x @ x.T,
    lambda x: cr.linear(x, x),
    lambda x: cr.linear(x, x, x[:, 0]),
    lambda x: cr.softmax(x, 0),
    cr.log_softmax,
    lambda x: cr.cross_entropy(x, INTS, label_smoothing=0.1),
    lambda x: cr.binary_cross_entropy(cr.sigmoid(x), 0.3),
    lambda x: cr.binary_cross_entropy_with_logits(x, 0.3),
    lambda x: cr.squared_error(x, 1.0),
    lambda x: cr.absolute_error(x, 1.0),
    lambda x: cr.huber(x, 1.0),
    lambda x: cr.scan(lambda c, row: (c + row, c * row), x[0], x)[1],
    cr.erf,
    cr.leaky_relu,
    cr.elu,
    cr.gelu,
    cr.std,
    cr.standardize,
    lambda x: cr.batch_norm(x, x[0], x[1]),
    lambda x: cr.layer_norm(x, x[0], x[1]),
    lambda x: cr.one_hot(INTS, 4) * x[:3],
]


def single_nodes(x):
    """Every operation once, and the values of its operands."""
    graph = cr.trace(lambda x: [f(x) for f in EVERY], x)
    values = Graph(graph.inputs, [n for n in graph.nodes if n.dtype != TUPLE]).run(x)
    known = dict(zip([n.id for n in graph.nodes if n.dtype != TUPLE], values, strict=True))
    chosen = {n.op: n for n in reversed(graph.nodes) if n.op not in LEAVES and all(x.id in known for x in n.inputs)}
    return {op: (node, [known[x.id] for x in node.inputs]) for op, node in chosen.items() if node.dtype != TUPLE}
