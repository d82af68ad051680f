"""Many trainings as one XLA program: the members one after another, each as if it were alone.

A member's weights stay in the nearest cache while it trains, which is worth more on a CPU than working on all members
at once; several threads run the program, each on members of its own. A member that stops early costs nothing any more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.backends.loop import Crew, Fleet, FleetProgram, Phase, Results
from chainrule.backends.xla import small
from chainrule.backends.xla.compiler import KERNEL, LOOP, Program
from chainrule.backends.xla.loops import phase_program, write


def compile_fleet(fleet: Fleet) -> FleetProgram:
    """The program of a fleet, compiled at its first call."""
    import jax

    tiny = small.fitting(*(phase for phase in (fleet.train, fleet.judge) if phase is not None))
    program = Program(_members(fleet, _alone(fleet, tiny)), KERNEL if any(tiny) else LOOP)

    def run(data: Sequence[Any], crew: Crew) -> Results:
        with jax.enable_x64(True):
            found: Results = jax.tree.map(np.asarray, program(list(data), crew))
            return found

    return run


def _members(fleet: Fleet, alone: Callable[..., Results]) -> Callable[[list[Any], Crew], Results]:
    import jax
    import jax.numpy as jnp
    from jax import lax

    def run(data: list[Any], crew: Crew) -> Results:
        X, y = data

        def one(i: Any, found: Results) -> Results:
            def own(x: Any) -> Any:
                return lax.dynamic_index_in_dim(x, i, keepdims=False)

            # A single version of the data is used as it lies, not copied.
            version = X[0] if len(X) == 1 else lax.dynamic_index_in_dim(X, own(crew.data), keepdims=False)
            mine = alone([own(x) for x in crew.states], [version, y], own(crew.orders), own(crew.held))
            return jax.tree.map(lambda places, x: write(places, x, i), found, mine)

        places = len(crew.orders)
        numbers = jnp.zeros((places, fleet.epochs, fleet.train.record - 1))
        kept = [jnp.zeros((places, *x.shape), x.dtype) for x in fleet.train.graph.inputs[fleet.keeps]]
        return lax.fori_loop(0, crew.taken, one, Results(kept, numbers, numbers))

    return run


def _alone(fleet: Fleet, tiny: list[bool]) -> Callable[..., Results]:
    """One member's training: (state, data, orders, held) → results."""
    import jax.numpy as jnp
    from jax import lax

    whole = all(tiny)
    turning = small.Turning.of(fleet.train, tiny[0])
    train = _epoch(turning.phase(fleet.train), fleet.summed, tiny[0], tiny[0] and not whole)
    judge = None
    if fleet.judge is not None:
        judge = _epoch(turning.phase(fleet.judge), fleet.summed, tiny[1], tiny[1] and not whole)

    def run(state: list[Any], data: list[Any], orders: Any, held: Any) -> Results:
        def going_on(carry: Any) -> Any:
            epoch, alive, waited, *_ = carry
            going = (epoch < fleet.epochs) & alive
            return going if fleet.patience is None else going & (waited < fleet.patience)

        def one_epoch(carry: Any) -> Any:
            epoch, _, waited, best, state, found = carry
            order = lax.dynamic_index_in_dim(orders, epoch, keepdims=False)
            alive, state, row = train(state, data, order)
            seen = jnp.full_like(row[:-1], jnp.nan) if judge is None else judge(state, data, held)[2]
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
    """A whole epoch: (state, data, order) → alive, state, summary."""
    import jax.numpy as jnp

    steps = phase_program(phase, tiny, alone)

    def run(state: list[Any], data: list[Any], order: Any) -> Any:
        alive, state, records = steps(state, data, order, 0, phase.steps)
        return alive, state, jnp.stack(phase.summary(records, summed))

    return run
