"""Module: a part of a network that holds its parameters, with PyTorch's conventions.

A module's parameters, buffers and parts are found by looking at its attributes; lists, tuples and dicts of modules
count too. Nothing is registered.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from chainrule.errors import ArgumentError, ShapeError, nearest
from chainrule.graph.elementwise import cast
from chainrule.graph.mode import Call, current, mode, no_grad, setting
from chainrule.graph.tensor import Tensor
from chainrule.nn.model_summary import Summary, summarize

_STANDS_FOR = "_stands_for"
"""The attribute in which a stand-in keeps the module it stands for: where that has a parameter, it has its tensor."""


class Parameter(Tensor):
    """A tensor that training changes, unless its `requires_grad` is set to False: then it is frozen.

    A frozen parameter keeps its value whatever optimizer, decay or penalty a `Trainer` has. It still belongs to the
    module's state: it is saved, loaded and read again at every run of a graph.

    Example:
        >>> Parameter([1.0, 2.0]).requires_grad
        True
    """

    __slots__ = ()
    changes = True

    def __init__(self, data: Any, dtype: Any = None) -> None:
        array = np.array(data, dtype=dtype)
        super().__init__("constant", (), {}, array.shape, array.dtype, array, requires_grad=True)


class Buffer(Tensor):
    """A tensor that belongs to a module's state and is not trained, such as a running mean; changed by `update`."""

    __slots__ = ()
    changes = True

    def __init__(self, data: Any, dtype: Any = None) -> None:
        array = np.array(data, dtype=dtype)
        super().__init__("constant", (), {}, array.shape, array.dtype, array)


def update(buffer: Tensor, change: Callable[[Tensor], Tensor]) -> None:
    """Give a module's buffer the value change(value), from inside `forward`.

    Where values are known the buffer has the new one at once. Where a program is made that carries the buffers along (a
    training step, `cr.compile`) the new value becomes one of its results. In a graph that is only traced nothing
    happens: a graph is a function and remembers nothing.
    """
    with no_grad():
        updates = mode.updates
        if updates is not None:
            now = updates.get(buffer.id, (buffer, buffer))[1]
            updates[buffer.id] = buffer, cast(change(now), buffer.dtype)
            return
        new = cast(change(buffer), buffer.dtype)
        if new.value is not None:
            buffer.assign(new.value)


class Module:
    """A part of a network. Subclasses create parameters and parts in `__init__` and define `forward`.

    Attributes:
        training: whether dropout drops and statistics are of the batch; set by `train()` and `eval()`.

    Example:
        >>> import chainrule as cr
        >>> class Residual(cr.nn.Module):
        ...     def __init__(self, width):
        ...         self.inner = cr.nn.Linear(width, width)
        ...     def forward(self, x):
        ...         return x + cr.relu(self.inner(x))
        >>> [name for name, _ in Residual(3).named_parameters()]
        ['inner.weight', 'inner.bias']
    """

    _training = True

    @property
    def training(self) -> bool:
        """The module's own mode, or that of the `in_mode` block that this thread is in."""
        imposed = mode.training
        return self._training if imposed is None else imposed

    @training.setter
    def training(self, on: bool) -> None:
        self._training = bool(on)

    def forward(self, *args: Any) -> Any:
        """What the module computes."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    def __call__(self, *args: Any) -> Any:
        """What `forward` gives; the nodes made meanwhile know this module's path."""
        mode = current()
        if mode.paths:
            path = mode.paths.get(id(self), mode.module)
            with setting(module=path):
                return self._run(args, path)
        with setting(module="", paths={id(module): name for name, module in self.named_modules()}):
            return self._run(args, "")

    def _run(self, args: tuple[Any, ...], path: str) -> Any:
        result = self.forward(*args)
        calls = mode.calls
        if calls is not None:
            calls.append(Call(self, path, self.training, result))
        return result

    # ---- parts, parameters and buffers by path

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly inside this one."""
        now = vars(self)
        for name, value in vars(_original(self)).items():
            if isinstance(value, (Module, *_NESTS)):
                yield from _members(name, value, now[name], Module)

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all inside it, each once."""
        seen: set[int] = set()
        pending = [(prefix, self)]
        while pending:
            path, module = pending.pop()
            if id(module) not in seen:
                seen.add(id(module))
                yield path, module
                inside = [(f"{path}.{name}" if path else name, child) for name, child in module.named_children()]
                pending += reversed(inside)

    def _named(self, kind: type) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        wanted = (kind, *_NESTS)
        for path, module in self.named_modules():
            now = vars(module)
            for attribute, value in vars(_original(module)).items():
                # Most attributes are plain numbers, and a training asks often.
                if not isinstance(value, wanted):
                    continue
                for name, member in _members(attribute, value, now[attribute], kind):
                    if id(member) not in seen:
                        seen.add(id(member))
                        yield f"{path}.{name}" if path else name, member

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """(path, parameter) pairs, each parameter once."""
        return self._named(Parameter)

    def parameters(self) -> Iterator[Parameter]:
        """The parameters, each once."""
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """(path, buffer) pairs."""
        return self._named(Buffer)

    def buffers(self) -> Iterator[Buffer]:
        """The buffers: state that is not trained."""
        return (buffer for _, buffer in self.named_buffers())

    # ---- a module as the dict of its parameters

    def tree_children(self) -> dict[str, Tensor]:
        """The parameters by path: how `chainrule.tree` sees a module."""
        return dict(self.named_parameters())

    def tree_rebuild(self, children: Mapping[str, Tensor]) -> Module:
        """A stand-in for this module that computes with other parameters; this one stays as it is."""
        own = dict(self.named_parameters()) | dict(self.named_buffers())
        return _stand_in(self, {id(own[path]): tensor for path, tensor in children.items()}, {})

    def tree_state(self) -> tuple[Any, ...]:
        """What else decides what the module computes: itself, and which parts are in training mode."""
        return self, tuple(module.training for _, module in self.named_modules())

    # ---- state

    def state_dict(self) -> dict[str, np.ndarray[Any, Any]]:
        """Parameters and buffers by path, as copies."""
        return {path: tensor.numpy() for path, tensor in [*self.named_parameters(), *self.named_buffers()]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set parameters and buffers by path.

        Raises:
            ArgumentError: a path is missing or unknown.
            ShapeError: an array has a different shape.
        """
        own: dict[str, Tensor] = dict(self.named_parameters()) | dict(self.named_buffers())
        for path in state:
            if path not in own:
                raise ArgumentError("no such parameter", where=path, expected=", ".join(nearest(path, own)[:3]))
        missing = [path for path in own if path not in state]
        if missing:
            raise ArgumentError("parameters are missing", where="state_dict", expected=", ".join(missing))
        for path, value in state.items():
            if np.shape(value) != own[path].shape:
                raise ShapeError(
                    "a parameter has a different shape", where=path, expected=own[path].shape, got=np.shape(value)
                )
        for path, value in state.items():
            values = value.numpy() if isinstance(value, Tensor) else value
            own[path].assign(np.array(values, dtype=own[path].dtype))

    def train(self, on: bool = True) -> Module:
        """Set training mode here and inside; returns itself."""
        for _, module in self.named_modules():
            module.training = on
        return self

    def eval(self) -> Module:
        """Set inference mode here and inside; returns itself."""
        return self.train(False)

    def summary(self, input_shape: tuple[int, ...], dtype: Any = np.float32) -> Summary:
        """A table with one row per module: path, kind, output shape, parameters; `.total` counts all parameters.

        The model runs in inference mode, so that a batch of one row will do; what is not trained is not counted.

        Args:
            input_shape: the shape of one input, batch axis included.
            dtype: its dtype.
        """
        with in_mode(training=False):
            return summarize(self, input_shape, dtype)

    def __repr__(self) -> str:
        inside = "".join(f"\n  ({name}): " + repr(child).replace("\n", "\n  ") for name, child in self.named_children())
        return f"{type(self).__name__}({self.extra()}{inside + chr(10) if inside else ''})"

    def extra(self) -> str:
        """What `repr` shows between the brackets."""
        return ""


def in_mode(*, training: bool) -> setting:
    """Within this block every module is in training or in inference mode, for this thread; none is changed."""
    return setting(training=training)


def _original(module: Module) -> Module:
    """The module that a stand-in stands for, or the module itself."""
    return vars(module).get(_STANDS_FOR, module)


_NESTS = (list, tuple, dict)
"""What parts of a module may stand in."""


def _members(name: str, value: Any, now: Any, kind: type) -> Iterator[tuple[str, Any]]:
    """What stands in `now` where `value`, which is built alike, has something of this kind."""
    if isinstance(value, kind):
        yield name, now
    elif isinstance(value, (list, tuple)):
        for i, (member, own) in enumerate(zip(value, now, strict=True)):
            yield from _members(f"{name}.{i}", member, own, kind)
    elif isinstance(value, dict):
        for key, member in value.items():
            yield from _members(f"{name}.{key}", member, now[key], kind)


def _stand_in(value: Any, replaced: Mapping[int, Tensor], seen: dict[int, Any]) -> Any:
    if isinstance(value, Tensor):
        return replaced.get(id(value), value)
    if isinstance(value, (list, tuple)) and any(isinstance(v, (Module, Tensor, list, tuple, dict)) for v in value):
        return type(value)(_stand_in(v, replaced, seen) for v in value)
    if isinstance(value, dict):
        return {key: _stand_in(v, replaced, seen) for key, v in value.items()}
    if not isinstance(value, Module):
        return value
    if id(value) not in seen:
        seen[id(value)] = twin = copy.copy(value)
        own = {name: member for name, member in vars(value).items() if name != _STANDS_FOR}
        for name, member in own.items():
            twin.__dict__[name] = _stand_in(member, replaced, seen)
        twin.__dict__[_STANDS_FOR] = _original(value)
    return seen[id(value)]
