"""The one place that compiles: every program is made here, and compiler options are chosen nowhere else."""

from __future__ import annotations

import functools
import pickle  # noqa: TID251  # loading a program runs what is in its file in any case
import threading
import time
from collections.abc import Callable
from typing import Any

from chainrule.backends import cache
from chainrule.backends.loop_program import CompileReport
from chainrule.backends.xla import compile_cache
from chainrule.backends.xla.compile_cache import CacheEntry
from chainrule.backends.xla.devices import device, device_name
from chainrule.backends.xla.digest import digest, is_ours
from chainrule.graph.graph import Graph

GRAPH, LOOP, KERNEL = "graph", "loop", "one kernel"
"""What a program is: a graph run once, loops over a state that is used up, loops that are one kernel in part."""
LIBRARY = "xla_cpu_experimental_ynn_fusion_type"
"""Which operations XLA hands to a library on a CPU. By default reductions are among them, and of those above 32,768
rows the library computes some wrongly (jaxlib 0.10.2); an option for one program takes a whole list, not "-reduce"."""
SAFE = "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"
WITHOUT_FUSIONS = {
    LIBRARY: "",
    "xla_disable_hlo_passes": "fusion,fusion-wrapper",
    "xla_cpu_use_fusion_emitters": False,
}


def options(kind: str) -> dict[str, Any]:
    """Compiler options for a kind of program on the device that programs run on.

    On a CPU the analysis of regions spares a copy of nearly every weight matrix in each step, since XLA then sees that
    the backward pass has read a weight before the update writes it. In a single kernel, nothing should be handed to
    a library, nothing else competes for the wide registers, and loops are written as they should run: optimizing them
    further makes them longer, not faster, and takes twice as long to compile.
    """
    if device_name() != "cpu":
        return {}
    regions = {} if kind == GRAPH else {"xla_cpu_copy_insertion_use_region_analysis": True}
    if kind == KERNEL:
        return regions | {LIBRARY: "", "xla_cpu_prefer_vector_width": 512, "xla_backend_optimization_level": 1}
    return regions | {LIBRARY: SAFE}


class Program:
    """A function of arrays, compiled when it is first made or called, for arguments of those shapes and dtypes.

    Args:
        function: of JAX arrays.
        kind: what it is: GRAPH, LOOP or KERNEL.
        donate: the positions of arguments that a call consumes.
        fusions: whether the compiler may fuse operations.
        graph: what the function computes, if it depends on nothing but that and the other arguments: then the program
            is cached from one process to the next.

    Attributes:
        entry: the program's cache entry, once it has been made; None if it is not cached.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        kind: str = GRAPH,
        donate: tuple[int, ...] = (),
        fusions: bool = True,
        graph: Graph | None = None,
    ) -> None:
        self._function, self._kind, self._donate, self._fusions, self._graph = function, kind, donate, fusions, graph
        self._compiled: Any = None
        self._turn = threading.Lock()
        self.entry: CacheEntry | None = None

    def make(self, *arguments: Any) -> CompileReport | None:
        """Trace and compile, or take the program from the cache; None if that was done before."""
        if self._compiled is not None:
            return None
        with self._turn:
            return None if self._compiled is not None else self._make(*arguments)

    def _make(self, *arguments: Any) -> CompileReport:
        began, note = time.perf_counter(), None
        self.entry = self._place(arguments)
        found = self._loaded()
        cached = found is not None
        if not cached:
            found, note = self._traced_and_compiled(arguments)
        seconds = time.perf_counter() - began
        # What there is a note about is not kept, so that it is said again the next time.
        if self.entry is not None and note is None:
            if not cached and seconds >= compile_cache.MIN_SECONDS:
                _save(found, self.entry)
            note = self.entry.note
        self._compiled = found
        return CompileReport(seconds, cached, note)

    def _place(self, arguments: Any) -> CacheEntry | None:
        """Where the program is kept for such arguments."""
        import jax

        if self._graph is None or cache.cache_folder() is None or not is_ours(self._graph):
            return None
        # An executable that JAX itself took from a file cannot be put into another one.
        if jax.config.jax_compilation_cache_dir:
            return None
        leaves, structure = jax.tree.flatten(arguments)
        types = [(x.shape, x.dtype, getattr(x, "weak_type", False)) for x in leaves]
        return CacheEntry(digest((self._kind, self._options, self._donate, str(structure), types), self._graph))

    def _loaded(self) -> Any | None:
        """The program as it was kept; None where it was not."""
        content = None if self.entry is None else self.entry.load()
        if self.entry is None or content is None:
            return None
        found = _unpacked(content)
        if found is None:
            self.entry.remove()
        return found

    @property
    def _options(self) -> dict[str, Any]:
        return options(self._kind) | ({} if self._fusions else WITHOUT_FUSIONS)

    def _traced_and_compiled(self, arguments: Any) -> tuple[Any, str | None]:
        """The program, and what the user is to know of it."""
        import jax

        lowered = jax.jit(self._function, donate_argnums=self._donate).lower(*arguments)
        compiled, unknown = _compiled(lowered, self._options)
        return compiled, _missing(unknown)

    def without_fusions(self) -> Program | None:
        """The same, to be compiled without fusions; None if that is not possible.

        One kernel without them takes longer to compile than such small steps take to interpret.
        """
        if device_name() != "cpu" or self._kind == KERNEL:
            return None
        return Program(self._function, self._kind, self._donate, fusions=False, graph=self._graph)

    @functools.cached_property
    def extra(self) -> int:
        """The bytes that a call takes besides its arguments, as far as the compiler reports it, once it is compiled."""
        stated = self._compiled.memory_analysis()
        if stated is None:
            return 0
        return int(stated.temp_size_in_bytes + stated.output_size_in_bytes - stated.alias_size_in_bytes)

    @property
    def text(self) -> str:
        """The compiled program as text."""
        return self._compiled.as_text() or ""

    def __call__(self, *arguments: Any) -> Any:
        """The function's value."""
        if self._compiled is None:
            self.make(*arguments)
        return self._compiled(*arguments)


def _save(compiled: Any, place: CacheEntry) -> None:
    from jax.experimental.serialize_executable import serialize

    try:
        content = pickle.dumps(serialize(compiled))
    # Not every device's programs can be put into a file, and JAX does not say what it raises then.
    except Exception as error:
        place.note = compile_cache.not_cached(error)
    else:
        place.save(content)


def _unpacked(content: bytes) -> Any | None:
    from jax.experimental.serialize_executable import deserialize_and_load

    here = device()
    try:
        return deserialize_and_load(*pickle.loads(content), backend=here.client, execution_devices=[here])
    # It was kept whole, but is none for this process; JAX does not say what it raises then.
    except Exception:
        return None


def _compiled(lowered: Any, chosen: dict[str, Any]) -> tuple[Any, list[str]]:
    """The program, and those of the options that this version of XLA does not know, which are left out."""
    import jax

    unknown: list[str] = []
    while True:
        try:
            return lowered.compile(compiler_options=chosen), unknown
        except jax.errors.JaxRuntimeError as error:
            name = next((name for name in chosen if name in str(error)), None)
            if name is None:
                raise
            unknown.append(name)
            chosen = {other: value for other, value in chosen.items() if other != name}


def _missing(unknown: list[str]) -> str | None:
    if LIBRARY not in unknown:
        return None
    return (
        f"this version of XLA does not take {LIBRARY}, which keeps some of its reductions from being computed wrongly: "
        "a version that jaxlib 0.10 comes with does"
    )
