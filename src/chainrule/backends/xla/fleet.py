"""Many trainings as one XLA program: the members one after another, each as if it were alone.

A member's weights stay in the nearest cache while it trains, which is worth more on a CPU than working on all members
at once; several threads run the program, each on members of its own. A member that stops early costs nothing any more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.backends.loop import Crew, Fleet, FleetProgram
from chainrule.backends.xla import small
from chainrule.backends.xla.loops import options, phase_program, write


def compile_fleet(fleet: Fleet) -> FleetProgram:
    """The program of a fleet."""
    import jax

    phases = [fleet.train] if fleet.judge is None else [fleet.train, fleet.judge]
    tiny = small.possible() and all(small.fits(phase.graphs) for phase in phases)
    alone = _member(fleet, tiny)
    program = jax.jit(_members(small.one_kernel(alone) if tiny else alone), compiler_options=options(tiny))

    def run(crew: Crew, first: int, last: int) -> tuple[list[Any], Any, Any]:
        mine = crew._replace(
            numbers=[x[first:last] for x in crew.numbers], uses=np.asarray(crew.uses[first:last], np.int32)
        )
        with jax.enable_x64(True):
            return jax.tree.map(np.asarray, program(mine))

    return run


def _members(alone: Callable[..., Any]) -> Callable[[Crew], Any]:
    from jax import lax

    def run(crew: Crew) -> Any:
        def one(member: Any) -> Any:
            numbers, uses = member
            start, [order], [held], data = (
                [lax.dynamic_index_in_dim(x, uses[place], keepdims=False) for x in leaves]
                for place, leaves in enumerate((crew.starts, [crew.orders], [crew.held], crew.data))
            )
            return alone([*numbers, *start], data, order, held)

        return lax.map(one, (crew.numbers, crew.uses))

    return run


def _member(fleet: Fleet, tiny: bool) -> Callable[..., Any]:
    import jax.numpy as jnp
    from jax import lax

    train = phase_program(fleet.train, tiny)
    judge = _judge(fleet, tiny)
    dtype = fleet.train.graph.outputs[-1].dtype

    def run(state: list[Any], data: list[Any], orders: Any, held: Any) -> Any:
        def going_on(carry: Any) -> Any:
            epoch, alive, waited = carry[:3]
            going = (epoch < fleet.epochs) & alive
            return going if fleet.patience is None else going & (waited < fleet.patience)

        def one_epoch(carry: Any) -> Any:
            epoch, _, waited, best, kept, state, records, judged = carry
            order = lax.dynamic_index_in_dim(orders, epoch, keepdims=False)
            alive, state, rows = train(state, data, order, 0, fleet.train.steps)
            records = write(records, jnp.stack(fleet.train.summary(rows[:, :-1], fleet.summed)), epoch)
            found = jnp.where(alive, judge(state, data, held), jnp.nan)
            judged = write(judged, found, epoch)
            better = alive if fleet.patience is None else alive & (found[0] < best)
            kept = [jnp.where(better, new, old) for new, old in zip(state[fleet.keeps], kept, strict=True)]
            waited, best = jnp.where(better, 0, waited + 1), jnp.where(better, found[0], best)
            return epoch + 1, alive, waited, best, kept, state, records, judged

        records = jnp.full((fleet.epochs, fleet.train.record - 1), jnp.nan, dtype)
        judged = jnp.full((fleet.epochs, fleet.train.record - 1), jnp.nan, dtype)
        begin = (0, jnp.asarray(True), 0, jnp.asarray(jnp.inf, dtype), state[fleet.keeps], state, records, judged)
        *_, kept, _, records, judged = lax.while_loop(going_on, one_epoch, begin)
        return kept, records, judged

    return run


def _judge(fleet: Fleet, tiny: bool) -> Callable[..., Any]:
    import jax.numpy as jnp

    phase = fleet.judge
    if phase is None:
        return lambda state, data, held: jnp.full(fleet.train.record - 1, jnp.nan, fleet.train.graph.outputs[-1].dtype)
    evaluation = phase_program(phase, tiny)
    return lambda state, data, held: jnp.stack(
        phase.summary(evaluation(state, data, held, 0, phase.steps)[2], fleet.summed)
    )
