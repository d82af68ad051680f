"""Many trainings as one XLA program: the members one after another, each as if it were alone.

A member's weights stay in the nearest cache while it trains, which is worth more on a CPU than working on all members
at once; several threads run the program, each on members of its own. A member that stops early costs nothing any more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from chainrule.backends import numpy as interpreter
from chainrule.backends.agreement import Disagreement
from chainrule.backends.loop import Check, Crew, Fleet, FleetProgram, Phase, Results
from chainrule.backends.verify import Watch, judged, tell
from chainrule.backends.xla import probes, small
from chainrule.backends.xla.compiler import KERNEL, LOOP, Program
from chainrule.backends.xla.graphs import run_unchecked
from chainrule.backends.xla.loops import phase_program, write
from chainrule.backends.xla.marks import Mark, mark
from chainrule.backends.xla.probes import Bounds


def compile_fleet(fleet: Fleet) -> FleetProgram:
    """The program of a fleet, compiled at its first call, and compared with the interpreter before it is trusted."""
    return _Fleet(fleet)


class _Fleet:
    def __init__(self, fleet: Fleet) -> None:
        phases = [phase for phase in (fleet.train, fleet.judge) if phase is not None]
        tiny = small.fitting(*phases)
        self._fleet, self._graphs = fleet, [graph for phase in phases for graph in phase.graphs]
        self._kind, self._rows = KERNEL if any(tiny) else LOOP, small.ROWS if tiny[0] else {}
        self._program = Program(_members(fleet, _alone(fleet, tiny)), self._kind)
        self._instead: FleetProgram | None = None
        self._watch = Watch(probes.cost(fleet.train, phases[1:]))
        self._turn = threading.Lock()

    def __call__(self, data: Sequence[Any], crew: Crew) -> Results:
        """Train the members of a crew."""
        check = None
        began = time.perf_counter()
        if self._watch.pending:
            with self._turn:
                self._make(data, crew)
                check = self._checked(data, crew)
        if self._instead is not None:
            return self._instead([np.asarray(x) for x in data], crew)._replace(check=check)
        found = self._run(self._program, data, crew, (self._fleet.epochs, 0, self._fleet.train.steps))
        if self._watch.pending:
            self._watch.spent += time.perf_counter() - began
        return found._replace(check=check)

    def _run(self, program: Program, data: Sequence[Any], crew: Crew, bounds: Bounds) -> Results:
        import jax

        with jax.enable_x64(True):
            given = crew._replace(taken=np.int32(crew.taken))
            found: Results = jax.tree.map(np.asarray, program(list(data), given, np.asarray(bounds, np.int32)))
            return found

    def _make(self, data: Sequence[Any], crew: Crew) -> None:
        import jax

        with jax.enable_x64(True):
            given = crew._replace(taken=np.int32(crew.taken))
            made = self._program.make(list(data), given, np.zeros(3, np.int32))
        if made is not None:
            tell(made.note)
            self._watch.recall(made.cached, self._mark)

    def _mark(self) -> Mark:
        fleet = self._fleet
        phases = [(p.batch, p.rows, p.data, p.states, len(p.graphs)) for p in (fleet.train, fleet.judge) if p]
        return mark(self._graphs, (fleet.epochs, fleet.patience, fleet.summed, fleet.keeps, phases), self._kind)

    def _checked(self, data: Sequence[Any], crew: Crew) -> Check | None:
        """Compare the program with the interpreter, where that is due; choose what runs from now on."""
        if not self._watch.due():
            return None
        began = time.perf_counter()

        def differs(program: Program) -> Disagreement | None:
            def call(bounds: Bounds) -> Results:
                return self._run(program, data, crew._replace(taken=1), bounds)

            return probes.fleet_differs(self._fleet, call, data, crew)

        verdict = judged(self._program, self._program.without_fusions, differs, partial(run_unchecked, rows=self._rows))
        if verdict.program is None:
            self._instead = interpreter.compile_fleet(self._fleet)
        else:
            self._program = verdict.program
        self._watch.done(verdict.note is None)
        return Check(time.perf_counter() - began, verdict.note)


def _members(fleet: Fleet, alone: Callable[..., Results]) -> Callable[[list[Any], Crew, Any], Results]:
    import jax
    import jax.numpy as jnp
    from jax import lax

    def run(data: list[Any], crew: Crew, bounds: Any) -> Results:
        X, y = data

        def one(i: Any, found: Results) -> Results:
            def own(x: Any) -> Any:
                return lax.dynamic_index_in_dim(x, i, keepdims=False)

            # A single version of the data is used as it lies, not copied.
            version = X[0] if len(X) == 1 else lax.dynamic_index_in_dim(X, own(crew.data), keepdims=False)
            mine = alone([own(x) for x in crew.states], [version, y], own(crew.orders), own(crew.held), bounds)
            return jax.tree.map(lambda places, x: write(places, x, i), found, mine)

        places = len(crew.orders)
        numbers = jnp.zeros((places, fleet.epochs, fleet.train.record - 1))
        kept = [jnp.zeros((places, *x.shape), x.dtype) for x in fleet.train.graph.inputs[fleet.keeps]]
        return lax.fori_loop(0, crew.taken, one, Results(kept, numbers, numbers))

    return run


def _alone(fleet: Fleet, tiny: list[bool]) -> Callable[..., Results]:
    """One member's training: (state, data, orders, held, bounds) → results."""
    import jax.numpy as jnp
    from jax import lax

    whole = all(tiny)
    turning = small.Turning.of(fleet.train, tiny[0])
    train = _epoch(turning.phase(fleet.train), fleet.summed, tiny[0], tiny[0] and not whole)
    judge = None
    if fleet.judge is not None:
        judge = _epoch(turning.phase(fleet.judge), fleet.summed, tiny[1], tiny[1] and not whole)
        judge_steps = fleet.judge.steps

    def run(state: list[Any], data: list[Any], orders: Any, held: Any, bounds: Any) -> Results:
        epochs, start, stop = (bounds[i] for i in range(3))

        def going_on(carry: Any) -> Any:
            epoch, alive, waited, *_ = carry
            going = (epoch < epochs) & alive
            return going if fleet.patience is None else going & (waited < fleet.patience)

        def one_epoch(carry: Any) -> Any:
            epoch, _, waited, best, state, found = carry
            order = lax.dynamic_index_in_dim(orders, epoch, keepdims=False)
            alive, state, row = train(state, data, order, start, stop)
            seen = jnp.full_like(row[:-1], jnp.nan) if judge is None else judge(state, data, held, 0, judge_steps)[2]
            records, judged = (
                write(x, jnp.where(alive, y, jnp.nan), epoch)
                for x, y in ((found.records, row[:-1]), (found.judged, seen))
            )
            better = alive if fleet.patience is None else alive & (seen[0] < best)
            kept = [jnp.where(better, new, old) for new, old in zip(state[fleet.keeps], found.kept, strict=True)]
            waited, best = jnp.where(better, 0, waited + 1), jnp.where(better, seen[0], best)
            return epoch + 1, alive, waited, best, state, Results(kept, records, judged)

        blank = jnp.full((fleet.epochs, fleet.train.record - 1), jnp.nan)
        state = turning.state(state)
        begin = (0, jnp.asarray(True), 0, jnp.inf, state, Results(state[fleet.keeps], blank, blank))
        found: Results = lax.while_loop(going_on, one_epoch, begin)[-1]
        return found._replace(kept=turning.state(found.kept, fleet.keeps.start))

    return small.one_kernel(run) if whole else run


def _epoch(phase: Phase, summed: bool, tiny: bool, alone: bool) -> Callable[..., Any]:
    """The batches [start, stop) of an epoch: (state, data, order, start, stop) → alive, state, summary."""
    import jax.numpy as jnp

    steps = phase_program(phase, tiny, alone)

    def run(state: list[Any], data: list[Any], order: Any, start: Any, stop: Any) -> Any:
        alive, state, records = steps(state, data, order, start, stop)
        batch = jnp.arange(phase.steps)[:, None]
        records = jnp.where((batch >= start) & (batch < stop), records, 0)
        return alive, state, jnp.stack(phase.summary(records, summed))

    return run
