"""`cr.compile`: a function → one program per structure of its arguments; and the programs behind `Graph.run`."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule import backends, tree
from chainrule.backends.cost import compile_seconds, seconds
from chainrule.backends.liveness import holders
from chainrule.errors import check_choice
from chainrule.graph import seams
from chainrule.graph.elementwise import as_tensor, cast
from chainrule.graph.graph import Graph, is_static, replay
from chainrule.graph.mode import Call, mode, setting
from chainrule.graph.surroundings import Surroundings
from chainrule.graph.tensor import Tensor, apply, constant, placeholder
from chainrule.graph.trace import traced

MOST = 64
"""Programs that a compiled function holds; of more, the one that was not used for longest goes."""
_turn = threading.Lock()


def program(graph: Graph, backend: str) -> Callable[..., Any]:
    """The program of a graph on a backend, made once; what it gives shares no memory with what it takes."""
    # Asked for each time, since a backend may refuse by now: in a process that was forked.
    compiler = backends.get(backend)
    with _turn:
        if backend not in graph.programs:
            graph.programs[backend] = _apart(graph, compiler.compile_graph(graph))
        return graph.programs[backend]


def _apart(graph: Graph, run: Callable[..., Any]) -> Callable[..., Any]:
    """The program with those results copied that may be views of an input, a constant or another result."""
    holder, made = holders(graph, set())
    held = [holder[y.id] for y in graph.outputs]
    shared = {i for i, place in enumerate(held) if place not in made or place in held[:i]}
    if not shared:
        return run
    return lambda values: [np.array(y) if i in shared else y for i, y in enumerate(run(values))]


class _Version:
    """A program's graph, and what has to hold for it to be the right one.

    Attributes:
        graph: takes the arrays among the arguments; reads what it captured.
        closed: the same graph with what it captured as further inputs, so that it can be a node of another one.
        buffers: whose new values are its last results.
    """

    def __init__(self, graph: Graph, calls: list[Call], buffers: list[Tensor], around: Surroundings) -> None:
        self.graph, self.buffers, self._around = graph, buffers, around
        self._calls = [call._replace(result=None) for call in calls]
        self.interpreted = 0.0

    @property
    def holds(self) -> bool:
        """Whether all is as it was when it was made: modes of modules, masks, what the function has from around it."""
        modes = all(call.module.training == call.training for call in self._calls)
        return modes and self._around.hold and all(guard.holds for guard in self.graph.guards)

    @functools.cached_property
    def closed(self) -> Graph:
        captured = {x.id: placeholder(x.shape, x.dtype, x.name) for x in self.graph.captured}
        known = replay(self.graph.nodes, {x.id: x for x in self.graph.inputs} | captured)
        outputs = [known[y.id] for y in self.graph.outputs]
        return Graph([*self.graph.inputs, *captured.values()], outputs).simplify()

    def backend(self, wanted: str) -> str:
        """For "auto": interpret until the calls so far would have paid for compiling; a count, so that it repeats."""
        if wanted != "auto":
            return wanted
        if self.interpreted > compile_seconds([self.graph]):
            return "xla"
        self.interpreted += seconds(self.graph, "numpy")
        return "numpy"


class Compiled:
    """A function that runs as compiled programs, one for each structure of its arguments.

    Attributes:
        structures: how many programs it holds: one for each combination of shapes, dtypes, nesting, static arguments
            (booleans, integers, strings) and of the plain values in its enclosing scope; at most `MOST`.
    """

    def __init__(self, f: Callable[..., Any], backend: str) -> None:
        functools.update_wrapper(self, f, updated=())
        self._f, self._backend = f, check_choice("backend", backend, ("auto", "numpy", "xla"))
        self._versions: dict[Any, list[_Version]] = {}
        self._turn = threading.RLock()

    @property
    def structures(self) -> int:
        """How many programs it holds."""
        return sum(map(len, self._versions.values()))

    def __reduce__(self) -> Any:
        # A copy makes its own programs.
        return Compiled, (self._f, self._backend)

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """What `f` gives, by the program for arguments of this structure."""
        named = dict(sorted(keywords.items()))
        leaves, structure = tree.flatten((args, named))
        if mode.tracing or any(isinstance(leaf, Tensor) and leaf.value is None for leaf in leaves):
            return self._f(*args, **keywords)
        version = self._version(leaves, structure, args, named)
        graph = version.graph
        given = [leaf for leaf in leaves if not is_static(leaf)]
        if mode.recording and any(getattr(x, "requires_grad", False) for x in (*given, *graph.captured)):
            values = self._recorded(version, given)
        else:
            found = program(graph, version.backend(self._backend))(graph.arrays(given))
            values = [constant(value) for value in found]
        result, news = tree.unflatten(graph.gives.plain(), values)
        for buffer, new in zip(version.buffers, news, strict=True):
            buffer.assign(new.value)
        return result

    def _recorded(self, version: _Version, given: list[Any]) -> list[Tensor]:
        """The results as parts of one node, through which derivatives go back by a program of their own."""
        graph = version.graph
        operands = [cast(as_tensor(leaf), x.dtype) for x, leaf in zip(graph.inputs, given, strict=True)]
        read = [x if x.requires_grad else constant(x.read().copy()) for x in graph.captured]
        node = apply("call", *operands, *read, body=version.closed, backend=version.backend(self._backend))
        return [apply("get_item", node, part=i) for i in range(len(graph.outputs))]

    def _version(
        self, leaves: list[Any], structure: tree.Structure, args: tuple[Any, ...], named: dict[str, Any]
    ) -> _Version:
        owners = structure.owners()
        modes = tuple(owner.tree_state() for owner in owners)
        key = (structure.plain(), tuple(_type(leaf) for leaf in leaves), modes, mode.training)
        with self._turn:
            alike = self._versions.pop(key, [])
            version = next((v for v in alike if v.holds), None)
            if version is None:
                version = self._made(args, named, Surroundings(self._f, *owners))
            # The last one is the one that was used last.
            self._versions[key] = [*(v for v in alike if v is not version), version]
            if self.structures > MOST:
                self._forget()
        return version

    def _forget(self) -> None:
        """Let go of the program that was not used for longest."""
        key = next(iter(self._versions))
        del self._versions[key][0]
        if not self._versions[key]:
            del self._versions[key]

    def _made(self, args: tuple[Any, ...], named: dict[str, Any], around: Surroundings) -> _Version:
        calls: list[Call] = []
        buffers: list[Tensor] = []

        @functools.wraps(self._f)
        def pure(*args: Any, **named: Any) -> tuple[Any, list[Tensor]]:
            updates: dict[int, tuple[Tensor, Tensor]] = {}
            with setting(updates=updates):
                result = self._f(*args, **named)
            buffers[:] = [buffer for buffer, _ in updates.values()]
            return result, [new for _, new in updates.values()]

        with setting(calls=calls):
            graph = traced(pure, args, named).simplify().verify()
        around.drop_changed()
        return _Version(graph, calls, buffers, around)


def _type(leaf: Any) -> Any:
    if is_static(leaf):
        return type(leaf), leaf
    array = leaf if isinstance(leaf, Tensor) else np.asarray(leaf)
    return array.shape, array.dtype, isinstance(leaf, float) or getattr(leaf, "weak", False)


def compile(f: Callable[..., Any], backend: str = "auto") -> Compiled:
    """A function like `f` that runs as compiled programs.

    Args:
        f: takes and returns tensors or nested containers of them; a module counts as the dict of its parameters.
        backend: "numpy" interprets, "xla" compiles, "auto" interprets until the calls so far would have paid for
            compiling, by the estimate of `chainrule.backends.cost`.

    Returns:
        A callable of the same signature; `.structures` counts the programs it holds. Parameters, buffers and arrays
        that `f` does not take as arguments are read again at every call, plain values around it (a number in its
        closure, an attribute of a module) decide which program runs; buffers that `f` changes (running statistics) are
        changed. If an operand requires a gradient, the call is one node of the graph and its gradient a program too,
        which recomputes what it needs of the forward pass.

    Raises:
        ArgumentError: the backend is unknown.
        TraceError: `f` chooses by values of arrays, or draws from `np.random`.

    Example:
        >>> import chainrule as cr
        >>> double = cr.compile(lambda x: x * 2.0, backend="numpy")
        >>> double([1.0, 2.0]).tolist(), double([1.0]).tolist(), double.structures
        ([2.0, 4.0], [2.0], 2)
    """
    return Compiled(f, backend)


seams.provide("program", program)
