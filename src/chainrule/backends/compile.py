"""`cr.compile`: a function → one program a structure of its arguments; and the programs behind `Graph.run`."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from chainrule import backends, tree
from chainrule.backends.estimate import compile_seconds, seconds
from chainrule.errors import check_choice
from chainrule.graph import seams
from chainrule.graph.graph import Graph, is_static
from chainrule.graph.mode import Call, current, setting
from chainrule.graph.tensor import Tensor, constant
from chainrule.graph.trace import trace

_programs: weakref.WeakKeyDictionary[Graph, dict[str, Callable[..., Any]]] = weakref.WeakKeyDictionary()


def program(graph: Graph, backend: str) -> Callable[..., Any]:
    """The program of a graph on a backend, made once."""
    made = _programs.setdefault(graph, {})
    if backend not in made:
        made[backend] = backends.get(backend).compile_graph(graph)
    return made[backend]


class _Version(NamedTuple):
    """A program's graph, the calls of modules in it, and the buffers whose new values are its last results."""

    graph: Graph
    calls: list[Call]
    buffers: list[Tensor]


class Compiled:
    """A function that runs as compiled programs, one for each structure of its arguments.

    Attributes:
        structures: how many programs it holds: one for each combination of shapes, dtypes, nesting, and static
            arguments (booleans, whole numbers, texts) that it has met.
    """

    def __init__(self, f: Callable[..., Any], backend: str) -> None:
        functools.update_wrapper(self, f, updated=())
        self._f, self._backend = f, check_choice("backend", backend, ("auto", "numpy", "xla"))
        self._versions: dict[Any, list[_Version]] = {}
        self._interpreted: dict[Any, float] = {}

    @property
    def structures(self) -> int:
        """How many programs it holds."""
        return sum(len(versions) for versions in self._versions.values())

    def __call__(self, *args: Any) -> Any:
        """What `f` gives, by the program for arguments of this structure."""
        if current().differentiating:
            # A program has no history that a derivative could go back through; the function itself has.
            return self._f(*args)
        leaves, structure = tree.flatten(args)
        key = (
            structure.plain(),
            tuple(_type(leaf) for leaf in leaves),
            tuple(owner.tree_state() for owner in structure.owners()),
        )
        if any(isinstance(leaf, Tensor) and leaf.value is None for leaf in leaves):
            return self._f(*args)
        graph, _, buffers = self._version(key, args)
        values = program(graph, self._choose(key, graph))(graph.arrays(args))
        result, news = tree.unflatten(graph.gives.plain(), [constant(value) for value in values])
        for buffer, new in zip(buffers, news, strict=True):
            buffer.assign(new.value)
        return result

    def _version(self, key: Any, args: tuple[Any, ...]) -> _Version:
        versions = self._versions.setdefault(key, [])
        for version in versions:
            if all(call.module.training == call.training for call in version.calls):
                return version
        calls: list[Call] = []
        buffers: list[Tensor] = []

        def pure(*args: Any) -> tuple[Any, list[Tensor]]:
            updates: dict[int, tuple[Tensor, Tensor]] = {}
            with setting(updates=updates):
                result = self._f(*args)
            buffers.extend(buffer for buffer, _ in updates.values())
            return result, [new for _, new in updates.values()]

        with setting(calls=calls):
            graph = trace(functools.wraps(self._f)(pure), *args).simplify().verify()
        versions.append(_Version(graph, [call._replace(result=None) for call in calls], buffers))
        return versions[-1]

    def _choose(self, key: Any, graph: Graph) -> str:
        """For "auto": interpret until the calls so far would have paid for compiling; a count, so that it repeats."""
        if self._backend != "auto":
            return self._backend
        spent = self._interpreted.get(key, 0.0)
        if spent > compile_seconds([graph]):
            return "xla"
        self._interpreted[key] = spent + seconds(graph, "numpy")
        return "numpy"


def _type(leaf: Any) -> Any:
    if is_static(leaf):
        return leaf
    array = leaf if isinstance(leaf, Tensor) else np.asarray(leaf)
    return array.shape, array.dtype


def compile(f: Callable[..., Any], backend: str = "auto") -> Compiled:
    """A function like `f` that runs as compiled programs.

    Args:
        f: takes and returns tensors or nests of them; a module counts as the dict of its parameters.
        backend: "numpy" interprets, "xla" compiles, "auto" interprets until the calls so far would have paid for
            compiling, by the estimate of `chainrule.backends.estimate`.

    Returns:
        A callable of the same signature; `.structures` counts the programs it holds. Parameters of modules that `f`
        does not take as arguments, and buffers, are read anew at every call; buffers that `f` changes (running
        statistics) are changed.

    Raises:
        ArgumentError: the backend is unknown.
        TraceError: `f` chooses by values of arrays.

    Example:
        >>> import chainrule as cr
        >>> double = cr.compile(lambda x: x * 2.0, backend="numpy")
        >>> double([1.0, 2.0]).tolist(), double([1.0]).tolist(), double.structures
        ([2.0, 4.0], [2.0], 2)
    """
    return Compiled(f, backend)


seams.provide("program", program)
