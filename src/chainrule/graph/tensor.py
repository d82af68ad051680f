"""A Tensor: a node of a graph, with or without a value.

Where its operands have values a tensor is computed at once (define-by-run) and behaves like a NumPy array that
remembers where it came from. While a function is traced it is a placeholder: shape and dtype, no value. One class and
one set of operations serve both.
"""

from __future__ import annotations

import itertools
import math
import opcode
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from chainrule.errors import DerivativeError, ShapeError, TraceError
from chainrule.graph import seams
from chainrule.graph.mode import Checkpointed, current, mode, user_line
from chainrule.graph.ops import OPS, TUPLE, Shape

_counter = itertools.count()
_NO_SETTINGS: dict[str, Any] = {}


class Tensor:
    """A multi-dimensional array that remembers how it was computed. Made by `cr.tensor`.

    Attributes:
        shape: the sizes of the axes.
        dtype: NumPy's dtype of the elements.
        value: the NumPy array, or None for a placeholder. Read-only; `assign` gives a leaf another one.
        changed: when a leaf was last given another value, as a number between the `id`s of nodes made before and after.
        op: the operation's name, `inputs` its operands, `attrs` its settings.
        module: the path of the module it was made in, e.g. "fc1".
        weak: whether it stands for a Python float, which gives way to the dtype of whatever it meets.
        region: the region it was made in, or None.
        line: "file:line" of the user's code that made it, where tracing was asked for it.
        adjoint_of: the forward node whose gradient this is, or None.
        grad: after `backward()`, the gradient of a tensor made with `requires_grad=True`.
    """

    __slots__ = (
        "__weakref__",
        "adjoint_of",
        "attrs",
        "changed",
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
        "weak",
    )  # fmt: skip
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
    region: Checkpointed | None
    changed: int
    weak: bool

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
        now = current()
        self.module, self.region = now.module, now.region
        self.line = user_line() if now.lines else None
        self.grad = self.adjoint_of = None
        self.detached = not now.recording
        self.changed, self.weak = 0, False

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
        """Whether this is a leaf whose value may change between runs of a graph: a parameter, a buffer."""
        return self.op == "constant" and (self.requires_grad or self.changes)

    def read(self) -> np.ndarray[Any, Any]:
        """The value that a run of a graph takes for this leaf."""
        return self._known("a run of the graph")

    def assign(self, value: np.ndarray[Any, Any]) -> None:
        """Give a leaf another value, of its shape and dtype; what was computed from the old one loses its gradient.

        Args:
            value: taken as it is, not copied.
        """
        assert self.op == "constant", f"{self.label()} is not a leaf"
        assert (value.shape, value.dtype) == (self.shape, self.dtype), f"{self.label()} = {value.dtype}{value.shape}"
        self.value = value
        self.changed = next(_counter)

    def check_unchanged(self, operands: Sequence[Tensor] | None = None) -> None:
        """Refuse to take a derivative of a value whose operands (or those named) have changed since.

        Raises:
            DerivativeError: names the operand.
        """
        if not self.requires_grad:
            return
        for x in self.inputs if operands is None else operands:
            if x.changed > self.id:
                raise DerivativeError(
                    f"{x.label()} was changed after the forward pass, and its gradient needs the old value",
                    where=self.label(),
                    hint="call backward() before you change it, or run the forward pass again",
                )

    def __reduce_ex__(self, protocol: Any) -> Any:
        # What a copy shares with the original must not be its identity: two nodes of one number would be one node.
        if self.op != "constant" or self.value is None:
            raise DerivativeError(
                "only leaves can be copied or pickled, not what was computed from them",
                where=self.label(),
                hint="use x.detach(), which has the values without their history",
            )
        own = getattr(self, "__dict__", None)
        return _restored, (type(self), self.value, self.requires_grad, self.name, self.grad, own)

    def numpy(self) -> np.ndarray[Any, Any]:
        """The values as a new NumPy array."""
        return np.array(self._known("numpy()"))

    def item(self) -> Any:
        """The one value as a Python number."""
        if self.size != 1:
            raise ShapeError("item() needs exactly one element", expected="one element", got=f"shape {self.shape}")
        return self._known("item()").item()

    def tolist(self) -> Any:
        """The values as nested Python lists."""
        return self._known("tolist()").tolist()

    @property
    def has_history(self) -> bool:
        """Whether its value alone is not enough, since a gradient or another run depends on how it was computed."""
        return self._varies or (self.requires_grad and mode.recording)

    @property
    def _varies(self) -> bool:
        """Whether its value may be another one in the next run of the graph that is being made."""
        return self.value is None or (mode.tracing and (bool(self.inputs) or self.is_variable))

    def _known(self, wanted: str) -> np.ndarray[Any, Any]:
        if self._varies:
            raise TraceError(
                f"{wanted} needs a value while the function is traced, and it may differ from run to run",
                where=self.label(),
                hint="choose with cr.where, or run the function define-by-run (call it without cr.compile or cr.trace)",
            )
        assert self.value is not None
        return self.value

    def label(self) -> str:
        """A short name for messages: the operation, the shape, and the module where there is one."""
        place = f"{self.module}: " if self.module else ""
        kind = type(self).__name__.lower() if self.op == "constant" and type(self) is not Tensor else self.op
        return f"{place}{self.name or kind} {self.dtype}{list(self.shape)}"

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
        return seams.ability("rows")(self)

    def __bool__(self) -> bool:
        return bool(self._known("a condition (if, while, and, or, not)"))

    def __float__(self) -> float:
        if self.has_history and self.value is not None:
            lost = f"a Python float has no gradient, and {self.label()} has one"
            way = "use x.item() for the value alone, x > 0.5 for a condition"
            # NumPy asks for a float to write an element of an array, as in a[i] = x.
            frame = sys._getframe(1)  # noqa: SLF001  # inspect's way to it is slow
            writing = opcode.opname[frame.f_code.co_code[frame.f_lasti]] == "STORE_SUBSCR"
            if writing or mode.differentiating:
                raise TraceError(lost, where="float()", hint=way)
            warnings.warn(f"{lost}; {way}", stacklevel=2)
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def __index__(self) -> int:
        return self._known("an index").__index__()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if self.has_history and self.value is not None:
            raise TraceError(
                "a NumPy array carries no gradient, and this tensor needs one",
                where=f"NumPy, with {self.label()}",
                hint="use chainrule's function of that name, or x.detach() or x.numpy() for the values alone",
            )
        return np.array(self._known("np.asarray"), dtype=dtype)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **settings: Any) -> Any:
        return seams.ability("ufunc")(ufunc, method, inputs, settings)

    def __array_function__(self, function: Any, types: Any, args: Any, settings: Any) -> Any:
        return seams.ability("array_function")(function, args, settings)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TraceError(
            "tensors cannot be modified in place, because gradients need the old values",
            where=self.label(),
            hint="make a new one: x = cr.put(x, index, value), or cr.where(condition, value, x)",
        )

    def _changed(self, new: Tensor) -> Tensor:
        """What `x += y` and its like make of x: the leaf with the new value, or what was computed where x is none."""
        if self.op != "constant" or (new.requires_grad and not self.requires_grad):
            return new
        if mode.tracing:
            raise TraceError(
                "a leaf is modified in place while a function is traced, which would happen only once",
                where=self.label(),
                hint="write x = x + y, or keep a module's state in a Buffer and give it to nn.update",
            )
        if self.requires_grad and mode.recording:
            raise DerivativeError(
                "a leaf that requires a gradient is modified in place",
                where=self.label(),
                hint="do so inside `with cr.no_grad():`, or write x = x + y for a new tensor",
            )
        if new.shape != self.shape or new.value is None:
            raise ShapeError("the result does not fit into it", where=self.label(), expected=self.shape, got=new.shape)
        if not np.can_cast(new.dtype, self.dtype, "same_kind"):
            raise ShapeError("the result does not fit into it", where=self.label(), expected=self.dtype, got=new.dtype)
        self.assign(np.array(new.value, self.dtype))
        return self

    def __getitem__(self, index: Any) -> Tensor:
        return seams.ability("getitem")(self, index)

    # ---- derivatives

    def backward(self, gradient: Any = None) -> None:
        """Add ∂self/∂t to `t.grad` for every tensor t made with `requires_grad=True` that self depends on.

        Args:
            gradient: the incoming gradient ∂C/∂self, of self's shape; may be omitted if self has one element.

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
        __iadd__ = __isub__ = __imul__ = __itruediv__ = __ipow__ = _binary
        __eq__ = __ne__ = _binary  # type: ignore[assignment]  # elementwise, as in NumPy
        __neg__ = __abs__ = __invert__ = exp = log = sqrt = tanh = sigmoid = relu = square = abs = _unary
        sum = mean = var = std = max = min = _reduction

        argmax: ClassVar[Callable[..., Tensor]]
        argsort: ClassVar[Callable[..., Tensor]]
        cumsum: ClassVar[Callable[..., Tensor]]
        squeeze: ClassVar[Callable[..., Tensor]]
        clip: ClassVar[Callable[..., Tensor]]
        astype: ClassVar[Callable[..., Tensor]]
        swapaxes: ClassVar[Callable[..., Tensor]]
        reshape: ClassVar[Callable[..., Tensor]]
        transpose: ClassVar[Callable[..., Tensor]]
        topk: ClassVar[Callable[..., tuple[Tensor, Tensor]]]

    def detach(self) -> Tensor:
        """The same values, constant for derivatives."""
        return apply("stop_gradient", self)


def _restored(
    kind: type[Tensor], value: np.ndarray[Any, Any], requires_grad: bool, name: str | None, grad: Any, own: Any
) -> Tensor:
    """A leaf of its own, made of the parts of another."""
    tensor = kind.__new__(kind)
    Tensor.__init__(tensor, "constant", (), {}, value.shape, value.dtype, value, requires_grad, name)
    tensor.grad = grad
    vars(tensor).update(own) if own else None
    return tensor


def constant(value: Any, dtype: Any = None) -> Tensor:
    """A tensor of known values, not copied: for the package's own use."""
    array = np.asarray(value, dtype=dtype)
    return Tensor("constant", (), {}, array.shape, array.dtype, array)


def placeholder(shape: Shape, dtype: Any, name: str | None = None) -> Tensor:
    """An input of a graph: shape and dtype, no value."""
    return Tensor("input", (), {}, tuple(shape), np.dtype(dtype), None, name=name)


def apply(name: str, *inputs: Tensor, **attrs: Any) -> Tensor:
    """Make a node: its shape and dtype from the table of operations, its value where all operands have theirs."""
    now = current()
    try:
        shape, dtype = OPS[name].infer(*inputs, **attrs)
    except ShapeError as error:
        if now.module and error.where and now.module not in error.where:
            raise ShapeError(
                error.what,
                where=f"layer {now.module}, {error.where}",
                expected=error.expected,
                got=error.got,
                hint=error.hint,
            ) from None
        raise
    values, known, asked = [], True, False
    # A loop, since this is done for every node of define-by-run: `any` and `all` would take longer than the rest.
    for x in inputs:
        value = x.value
        values.append(value)
        known = known and value is not None
        asked = asked or x.requires_grad
    requires_grad = asked and now.recording and dtype.kind in "fO" and name != "stop_gradient"
    if not known:
        return Tensor(name, inputs, attrs, shape, dtype, None, requires_grad)
    value = seams.ability("evaluate")(name, values, attrs, dtype, now.quiet)
    # A node of several results stays what it is, since its parts are told by its settings; so does what is made of
    # variables in a graph, which may be run again when they have changed.
    fixed = not now.tracing or not any(t.inputs or t.is_variable for t in inputs)
    if not requires_grad and fixed and dtype is not TUPLE:
        return Tensor("constant", (), {}, shape, dtype, value)
    # Most operations have no settings, and a dict each would be work for the collector of garbage.
    return Tensor(name, inputs, attrs or _NO_SETTINGS, shape, dtype, value, requires_grad)
