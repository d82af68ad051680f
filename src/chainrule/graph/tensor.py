"""A Tensor: a node of a graph, with or without a value.

Where its operands have values a tensor is computed at once (define-by-run) and behaves like a NumPy array that
remembers where it came from. While a function is traced it is a placeholder: shape and dtype, no value. One class and
one set of operations serve both.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from chainrule.errors import ShapeError, TraceError
from chainrule.graph import seams
from chainrule.graph.ops import BUNDLE, OPS, Shape

_counter = itertools.count()
_PACKAGE = __name__.split(".")[0]


class Call(NamedTuple):
    """A call of a module: which one, where in the model, in training mode or not, and what it gave."""

    module: Any
    path: str
    training: bool
    result: Any


class Region:
    """A part of a computation whose insides are not kept for the gradient, but computed again.

    Attributes:
        parent: the region around it.
        given: what went into it, apart from weights.
    """

    __slots__ = ("given", "parent")

    def __init__(self, parent: Region | None, given: tuple[Tensor, ...]) -> None:
        self.parent, self.given = parent, given


class _Mode:
    """What holds while nodes are made.

    Whether to record, whether a derivative is being taken, whether a graph is being made, the path of the module we are
    in, the region, whether lines are wanted, where each module of the running model is, a log of module calls where one
    is kept, and the new values of buffers (by the id of the tensor that stands for one) where they are gathered.
    """

    recording = True
    differentiating = False
    tracing = False
    lines = False
    module = ""
    region: Region | None = None
    paths: dict[int, str] = {}  # noqa: RUF012  # replaced, never changed
    calls: list[Call] | None = None
    updates: dict[int, tuple[Tensor, Tensor]] | None = None


mode = _Mode()


@contextlib.contextmanager
def setting(**values: Any) -> Iterator[None]:
    """Change the mode within a block."""
    before = {name: getattr(mode, name) for name in values}
    vars(mode).update(values)
    try:
        yield
    finally:
        vars(mode).update(before)


@contextlib.contextmanager
def no_grad() -> Iterator[None]:
    """Within this block nothing is recorded for derivatives; what is made there counts as constant.

    Example:
        >>> import chainrule as cr
        >>> x = cr.tensor(2.0, requires_grad=True)
        >>> with cr.no_grad():
        ...     y = x * x
        >>> y.requires_grad
        False
    """
    with setting(recording=False):
        yield


class Tensor:
    """A multi-dimensional array that remembers how it was made. Made by `cr.tensor`.

    Attributes:
        shape: the sizes of the axes.
        dtype: NumPy's dtype of the elements.
        value: the NumPy array, or None for a placeholder. Not to be written to.
        op: the operation's name, `inputs` its operands, `attrs` its settings.
        module: the path of the module it was made in, e.g. "fc1".
        region: the region it was made in, or None.
        line: "file:line" of the user's code that made it, where tracing was asked for it.
        adjoint_of: the forward node whose gradient this is, or None.
        grad: after `backward()`, the gradient of a tensor made with `requires_grad=True`.
    """

    __slots__ = (
        "__weakref__",
        "adjoint_of",
        "attrs",
        "detached",
        "dtype",
        "grad",
        "id",
        "inputs",
        "line",
        "module",
        "name",
        "op",
        "region",
        "requires_grad",
        "shape",
        "value",
    )  # fmt: skip
    __array_ufunc__ = None
    changes: ClassVar[bool] = False
    """Whether the value of such a leaf may be another in the next run, though no gradient is asked for: a buffer."""

    __hash__ = object.__hash__

    op: str
    inputs: tuple[Tensor, ...]
    attrs: dict[str, Any]
    shape: Shape
    dtype: np.dtype[Any]
    value: np.ndarray[Any, Any] | None
    grad: Tensor | None
    adjoint_of: Tensor | None
    line: str | None
    name: str | None
    region: Region | None

    def __init__(
        self,
        op: str,
        inputs: tuple[Tensor, ...],
        attrs: dict[str, Any],
        shape: Shape,
        dtype: np.dtype[Any],
        value: np.ndarray[Any, Any] | None = None,
        requires_grad: bool = False,
        name: str | None = None,
    ) -> None:
        self.op, self.inputs, self.attrs = op, inputs, attrs
        self.shape, self.dtype, self.value = shape, dtype, value
        self.requires_grad, self.name = requires_grad, name
        self.id = next(_counter)
        self.module, self.region = mode.module, mode.region
        self.line = _user_line() if mode.lines else None
        self.grad = self.adjoint_of = None
        self.detached = not mode.recording

    # ---- what it is

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def is_variable(self) -> bool:
        """Whether this is a leaf whose value may be another one in the next run of a graph: a parameter, a buffer."""
        return self.op == "constant" and (self.requires_grad or self.changes)

    def numpy(self) -> np.ndarray[Any, Any]:
        """The values as a NumPy array of one's own."""
        return np.array(self._known("numpy()"))

    def item(self) -> Any:
        """The one value as a Python number."""
        if self.size != 1:
            raise ShapeError("item() needs exactly one element", expected="one element", got=f"shape {self.shape}")
        return self._known("item()").item()

    def tolist(self) -> Any:
        """The values as nested Python lists."""
        return self._known("tolist()").tolist()

    def _known(self, wanted: str) -> np.ndarray[Any, Any]:
        if self.value is None:
            raise TraceError(
                f"{wanted} asks for a value while the function is traced, when only shapes are known",
                where=self.label(),
                hint="choose with cr.where, or run the function define-by-run (call it without cr.compile or cr.trace)",
            )
        return self.value

    def label(self) -> str:
        """A short name for messages: the operation, the shape, and the module where there is one."""
        place = f"{self.module}: " if self.module else ""
        return f"{place}{self.name or self.op} {self.dtype}{list(self.shape)}"

    def __repr__(self) -> str:
        grad = ", requires_grad=True" if self.requires_grad else ""
        if self.value is None:
            return f"Tensor({self.name or self.op}, shape={self.shape}, dtype={self.dtype})"
        text = np.array2string(self.value, separator=", ", prefix="tensor(")
        return f"tensor({text}, dtype={self.dtype}{grad})"

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a tensor without axes")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self._known("a condition (if, while, and, or, not)"))

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        return self._known("an index").__index__()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.array(self._known("np.asarray"), dtype=dtype)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TraceError(
            "a tensor is not written in place, since its gradient needs the old values",
            where=self.label(),
            hint="make a new one: x = cr.put(x, index, value), or cr.where(condition, value, x)",
        )

    def __getitem__(self, index: Any) -> Tensor:
        return seams.ability("getitem")(self, index)

    # ---- derivatives

    def backward(self, gradient: Any = None) -> None:
        """Add ∂self/∂t to `t.grad` for every tensor t made with `requires_grad=True` that self depends on.

        Args:
            gradient: the incoming gradient ∂C/∂self, of self's shape; may be left out where self has one element.

        Raises:
            DerivativeError: where an operation on the way has no derivative.
            ShapeError: where self has several elements and no gradient is given.

        Example:
            >>> import chainrule as cr
            >>> x = cr.tensor([1.0, 2.0], requires_grad=True)
            >>> (x * x).sum().backward()
            >>> x.grad.numpy()
            array([2., 4.])
        """
        seams.ability("backward")(self, gradient)

    if TYPE_CHECKING:  # filled by graph.functions, which knows what each means
        T: Tensor

        def _binary(self, other: Any) -> Tensor: ...
        def _reduction(self, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tensor: ...
        def _unary(self) -> Tensor: ...

        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _binary
        __pow__ = __rpow__ = __matmul__ = __rmatmul__ = __and__ = __rand__ = __or__ = __ror__ = _binary
        __lt__ = __le__ = __gt__ = __ge__ = _binary
        __eq__ = __ne__ = _binary  # type: ignore[assignment]  # elementwise, as in NumPy
        __neg__ = __abs__ = __invert__ = exp = log = sqrt = tanh = sigmoid = relu = square = abs = _unary
        sum = mean = var = std = max = min = _reduction

        argmax: ClassVar[Callable[..., Tensor]]
        cumsum: ClassVar[Callable[..., Tensor]]
        squeeze: ClassVar[Callable[..., Tensor]]
        clip: ClassVar[Callable[..., Tensor]]
        astype: ClassVar[Callable[..., Tensor]]
        swapaxes: ClassVar[Callable[..., Tensor]]
        reshape: ClassVar[Callable[..., Tensor]]
        transpose: ClassVar[Callable[..., Tensor]]

    def detach(self) -> Tensor:
        """The same values, constant for derivatives."""
        return apply("stop_gradient", self)


def _user_line() -> str | None:
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__", "").split(".")[0] != _PACKAGE:
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]  # the loop ends at None
    return None


def constant(value: Any, dtype: Any = None) -> Tensor:
    """A tensor of known values, not copied: for the package's own use."""
    array = np.asarray(value, dtype=dtype)
    return Tensor("constant", (), {}, array.shape, array.dtype, array)


def placeholder(shape: Shape, dtype: Any, name: str | None = None) -> Tensor:
    """An input of a graph: shape and dtype, no value."""
    return Tensor("input", (), {}, tuple(shape), np.dtype(dtype), None, name=name)


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of anything that NumPy can read, copied; NumPy's rules choose the dtype unless one is given.

    Args:
        data: numbers, nested lists, arrays.
        dtype: a NumPy dtype; by default NumPy's choice (Python floats give float64).
        requires_grad: whether `backward()` shall compute this tensor's `.grad`.

    Raises:
        ShapeError: the data is not a block of numbers, or a gradient is asked for whole numbers.

    Example:
        >>> import chainrule as cr
        >>> cr.tensor([[1, 2], [3, 4]], dtype="float32").shape
        (2, 2)
    """
    try:
        array = np.array(data, dtype=dtype)
    except (ValueError, TypeError) as error:
        raise ShapeError("not a block of numbers", where="tensor", got=str(error)) from None
    if array.dtype.kind not in "biuf":
        raise ShapeError("not real numbers", where="tensor", expected="bool, int or float", got=array.dtype)
    if requires_grad and array.dtype.kind != "f":
        raise ShapeError("only real numbers have gradients", where="tensor", expected="a float dtype", got=array.dtype)
    return Tensor("constant", (), {}, array.shape, array.dtype, array, requires_grad)


def apply(name: str, *inputs: Tensor, **attrs: Any) -> Tensor:
    """Make a node: its shape and dtype from the table of operations, its value where all operands have theirs."""
    op = OPS[name]
    try:
        shape, dtype = op.infer(*inputs, **attrs)
    except ShapeError as error:
        if mode.module and error.where and mode.module not in error.where:
            raise ShapeError(
                error.what,
                where=f"layer {mode.module}, {error.where}",
                expected=error.expected,
                got=error.got,
                hint=error.hint,
            ) from None
        raise
    values = [t.value for t in inputs]
    known = all(value is not None for value in values)
    requires_grad = (
        mode.recording and dtype.kind in "fO" and name != "stop_gradient" and any(t.requires_grad for t in inputs)
    )
    if not known:
        return Tensor(name, inputs, attrs, shape, dtype, None, requires_grad)
    value = seams.ability("evaluate")(name, values, attrs, dtype)
    # A node of several results stays what it is, since its parts are told by its settings; so does what is made of
    # variables in a graph, which may be run again when they have changed.
    fixed = not mode.tracing or not any(t.inputs or t.is_variable for t in inputs)
    if not requires_grad and dtype != BUNDLE and fixed:
        return Tensor("constant", (), {}, shape, dtype, value)
    return Tensor(name, inputs, attrs, shape, dtype, value, requires_grad)
