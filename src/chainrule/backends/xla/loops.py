"""A schedule of epochs as one XLA program: two nested loops, the state donated from call to call."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from chainrule.backends import numpy as interpreter
from chainrule.backends.agreement import Disagreement
from chainrule.backends.loop import Check, LoopProgram, Made, Outcome, Phase, Schedule, Span
from chainrule.backends.verify import Watch, judged, setting
from chainrule.backends.xla import probes, small
from chainrule.backends.xla.compiler import KERNEL, LOOP, Program
from chainrule.backends.xla.devices import device_name
from chainrule.backends.xla.graphs import run_unchecked
from chainrule.backends.xla.lower import function
from chainrule.backends.xla.marks import Mark, mark
from chainrule.graph.graph import Graph

SCRATCH = 32 * 2**20
"""Bytes for the threads that multiply matrices, of which the compiler does not tell: 20 to 45 MB were measured."""


def compile_schedule(schedule: Schedule) -> LoopProgram:
    """All epochs of a schedule as one compiled program; the state's buffers are donated from call to call."""
    return _Loops(schedule)


class _Loops:
    def __init__(self, schedule: Schedule) -> None:
        tiny = small.fitting(schedule.train, *schedule.evaluate)
        self._schedule = schedule
        self._scratch = 0 if all(tiny) or device_name() != "cpu" else SCRATCH
        self._orders = (schedule.epochs, schedule.train.rows)
        self._kind, self._rows = KERNEL if any(tiny) else LOOP, small.ROWS if tiny[0] else {}
        self._program = Program(_epochs(schedule, tiny), self._kind, donate=(0,))
        self._instead: LoopProgram | None = None
        self._watch = Watch(probes.cost(schedule.train, schedule.evaluate))

    def make(self, state: Sequence[Any], data: Sequence[Any]) -> Made | None:
        """Compile for arrays of these shapes and dtypes."""
        import jax

        with jax.enable_x64(True):
            types = [[jax.ShapeDtypeStruct(x.shape, x.dtype) for x in arrays] for arrays in (state, data)]
            orders, span = (
                jax.ShapeDtypeStruct(self._orders, np.int32),
                jax.ShapeDtypeStruct((len(Span._fields),), np.int32),
            )
            made = self._program.make(*types, orders, span)
        if made is not None:
            self._watch.spent += made.seconds
            self._watch.recall(made.cached, self._mark)
        return made

    def _mark(self) -> Mark:
        phases = (self._schedule.train, *self._schedule.evaluate)
        how = [self._schedule.epochs, *((p.batch, p.rows, p.data, p.states, len(p.graphs)) for p in phases)]
        return mark([graph for phase in phases for graph in phase.graphs], how, self._kind)

    @property
    def extra(self) -> int:
        """What the compiler says that the program needs, and what its products need; or a check at the first call."""
        usual = self._program.extra + self._scratch
        if not (self._watch.pending and self._watch.cheap) or setting() == "off":
            return usual
        return max(usual, probes.room(self._schedule.train, self._schedule.evaluate))

    @property
    def unchecked(self) -> str | None:
        """Why the program was not compared with the interpreter so far; None where it was, or need not be."""
        return self._watch.note

    def __call__(self, state: list[Any], data: Sequence[Any], orders: Any, span: Span) -> Outcome:
        """Run the epochs of a span."""
        check = self._checked(state, data, orders) if self._watch.pending else None
        if self._instead is not None:
            arrays = [[np.asarray(x) for x in some] for some in (state, data)]
            return self._instead(arrays[0], arrays[1], orders, span)._replace(check=check)
        began = time.perf_counter()
        outcome = self._run(self._program, list(state), data, orders, span)
        if self._watch.pending:
            np.asarray(outcome.train)
            self._watch.spent += time.perf_counter() - began
        return outcome._replace(check=check)

    def _run(self, program: Program, state: list[Any], data: Sequence[Any], orders: Any, span: Span) -> Outcome:
        import jax

        with jax.enable_x64(True):
            state, train, evaluate = program(state, list(data), orders, np.asarray(span, np.int32))
            return Outcome(state, train, tuple(evaluate))

    def _checked(self, state: Sequence[Any], data: Sequence[Any], orders: Any) -> Check | None:
        """Compare the program with the interpreter from this state, where that is due; choose what runs from now on."""
        if not self._watch.due() or not probes.fits(self._schedule.train, self._schedule.evaluate):
            return None
        began = time.perf_counter()

        def differs(program: Program) -> Disagreement | None:
            def call(state: list[Any], span: Span) -> Outcome:
                return self._run(program, state, data, orders, span)

            return probes.loops_differ(self._schedule, call, state, data, orders)

        verdict = judged(self._program, self._program.without_fusions, differs, partial(run_unchecked, rows=self._rows))
        if verdict.program is None:
            self._instead = interpreter.compile_schedule(self._schedule)
        else:
            self._program = verdict.program
        self._watch.done(verdict.note is None)
        return Check(time.perf_counter() - began, verdict.note)


def _epochs(schedule: Schedule, tiny: list[bool]) -> Callable[..., Any]:
    import jax.numpy as jnp
    from jax import lax

    whole = all(tiny)
    turning = small.Turning.of(schedule.train, tiny[0])
    train, *evaluations = (
        phase_program(turning.phase(phase), fits, fits and not whole)
        for phase, fits in zip((schedule.train, *schedule.evaluate), tiny, strict=True)
    )
    counts = [jnp.arange(phase.rows, dtype=jnp.int32) for phase in schedule.evaluate]

    def run(state: list[Any], data: list[Any], orders: Any, span: Any) -> Any:
        first, last, start, stop = (span[i] for i in range(4))
        records = [_blank(schedule.epochs, phase) for phase in (schedule.train, *schedule.evaluate)]

        def going_on(carry: Any) -> Any:
            epoch, alive, _, _ = carry
            return (epoch < last) & alive

        def one_epoch(carry: Any) -> Any:
            epoch, alive, state, records = carry
            order = lax.dynamic_index_in_dim(orders, epoch, keepdims=False)
            alive, state, row = train(state, data, order, start, stop)
            written = [write(records[0], row, epoch)]
            for phase, evaluation, count, record in zip(
                schedule.evaluate, evaluations, counts, records[1:], strict=True
            ):
                # The evaluation is skipped where the span ends in the midst of an epoch.
                end = jnp.where(alive & (stop == schedule.train.steps), phase.steps, 0)
                written.append(write(record, evaluation(state, data, count, 0, end)[2], epoch))
            return epoch + 1, alive, state, written

        carry = (first, jnp.asarray(True), turning.state(state), records)
        _, _, state, records = lax.while_loop(going_on, one_epoch, carry)
        return turning.state(state), records[0], records[1:]

    return small.one_kernel(run) if whole else run


def _blank(epochs: int, phase: Phase) -> Any:
    import jax.numpy as jnp

    return jnp.full((epochs, phase.steps, phase.record), jnp.nan, phase.graph.outputs[-1].dtype)


def write(records: Any, row: Any, position: Any) -> Any:
    """The records with one row written."""
    from jax import lax

    return lax.dynamic_update_index_in_dim(records, row, position, 0)


def phase_program(phase: Phase, tiny: bool, alone: bool) -> Callable[..., Any]:
    """A pass over batches [start, stop) of an order: (state, data, order, start, stop) → (alive, state, records).

    Args:
        phase: what to run.
        tiny: whether to write its operations for one kernel.
        alone: whether to make that kernel of this pass, and not of something around it.
    """
    import jax.numpy as jnp
    from jax import lax

    rows = small.ROWS if tiny else {}
    steps = {graph: function(phase.stepping(graph), rows) for graph in phase.graphs}

    def advance(graph: Graph | None, size: int, state: list[Any], data: list[Any], order: Any, at: Any) -> Any:
        assert graph is not None, "a batch without its graph"
        rows = lax.dynamic_slice_in_dim(order, at, size)
        *new, record = steps[graph]([*state, *data, rows])
        if not phase.changes_state:
            return jnp.asarray(True), state, record
        return jnp.isfinite(record).all(), new, record

    def run(state: list[Any], everything: list[Any], order: Any, start: Any, stop: Any) -> Any:
        data = [everything[i] for i in phase.data]

        def going_on(carry: Any) -> Any:
            i, alive, _, _ = carry
            return (i < jnp.minimum(stop, phase.full)) & alive

        def one_step(carry: Any) -> Any:
            i, _, state, records = carry
            alive, state, record = advance(phase.step, phase.batch, state, data, order, i * phase.batch)
            return i + 1, alive, state, write(records, record, i)

        carry = (jnp.asarray(start, jnp.int32), jnp.asarray(True), state, _blank(1, phase)[0])
        if phase.step is not None:
            carry = lax.while_loop(going_on, one_step, carry)
        if phase.last is None:
            return carry[1:]
        size, at = phase.rows - phase.full * phase.batch, phase.full * phase.batch

        def last_step(alive: Any, state: list[Any], records: Any) -> Any:
            fine, state, record = advance(phase.last, size, state, data, order, at)
            return fine, state, write(records, record, phase.full)

        return lax.cond(carry[1] & (stop > phase.full), last_step, lambda *kept: kept, *carry[1:])

    return small.one_kernel(run) if alone else run
