"""What memory a training takes, stated before it starts, and refused where there is not as much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chainrule import backends, resources, tree
from chainrule.data import memory
from chainrule.errors import ResourceError

if TYPE_CHECKING:
    from chainrule.train.loaders.data_loader import DataLoader
    from chainrule.train.plan import PreparedTraining
    from chainrule.train.session import FitConfig

PARTS = ("parameters", "optimizer", "data", "kept", "temporaries")
HINTS = {
    "parameters": "make the model smaller",
    "optimizer": "take an optimizer that keeps less, such as SGD",
    "data": "chainrule.data.stream brings rows a chunk at a time",
    "kept": "leave out early_stopping, callbacks or checkpoint",
    "temporaries": "take a smaller batch_size, or put parts of the model into chainrule.nn.Checkpoint",
}
"""What to do where a part is the largest one."""
SMALL = 2**24
"""Bytes that need no asking whether they are there."""


@dataclass(frozen=True)
class Estimate:
    """What memory a training takes, in bytes.

    On a CPU it is the resident memory of this process, on a GPU the memory of the device.

    Attributes:
        backend: the backend it is about.
        before: what there is without the training: the libraries, the model, your arrays, the compiled program.
        parameters: the parameters and buffers that the program works on; the model keeps its own.
        optimizer: the optimizer's state.
        data: rows that are converted, split, standardised or put where the program runs; the order of the rows.
        kept: copies of the state for early stopping, callbacks and checkpoints that stay.
        temporaries: what a step, or the end of an epoch, holds at its peak besides these: activations, gradients, the
            new state; what is made for callbacks and checkpoints.
        preparing: what the rows take at most while they are made ready, before the program runs.

    Example:
        >>> import numpy as np
        >>> import chainrule as cr
        >>> model = cr.nn.Sequential(cr.nn.Linear(100, 200), cr.nn.ReLU(), cr.nn.Linear(200, 10))
        >>> trainer = cr.Trainer(model, cr.nn.CrossEntropyLoss(), cr.optim.Adam(1e-3), backend="numpy")
        >>> estimate = trainer.estimate(np.zeros((1000, 100), "float32"), batch_size=500)
        >>> estimate.parameters == 4 * (100 * 200 + 200 + 200 * 10 + 10)
        True
        >>> estimate.peak == estimate.before + estimate.training
        True
    """

    backend: str
    before: int
    parameters: int
    optimizer: int
    data: int
    kept: int
    temporaries: int
    preparing: int

    @property
    def training(self) -> int:
        """The most that the training takes on top of what there is without it."""
        return max(self.preparing, sum(getattr(self, name) for name in PARTS))

    @property
    def peak(self) -> int:
        """The most memory in use while the training runs."""
        return self.before + self.training

    def __str__(self) -> str:
        said = ", ".join(f"{memory.worded(size)} {name}" for name in PARTS if (size := getattr(self, name)))
        return f"{memory.worded(self.peak)} at the peak: {memory.worded(self.before)} before the training, {said}"


def stated(prepared: PreparedTraining, state: Any, loader: DataLoader, config: FitConfig, former: Any) -> Estimate:
    """The estimate for a training whose program is made.

    Args:
        prepared: what is to run.
        state: that it begins with, its own and the monitor's, not yet where the program runs.
        loader: the rows.
        config: the arguments of `fit`.
        former: the optimizer's state of an earlier training, which goes when this one begins; None where there is none.
    """
    step, training, backend = prepared.step, prepared.plan.training, prepared.backend
    state, watch = state
    optimizer, best = _bytes(state["optimizer"]), _bytes(watch)
    parameters = sum(_bytes(state[name]) for name in ("parameters", "frozen", "buffers"))
    room, device = loader.room(backend), backend.device_memory()
    # A packed state is one more copy of what it was made of; it goes when the program gets its own.
    replaced = 0 if former is None else _bytes(former)
    going = replaced + step.packed * (_bytes(state["parameters"]) + replaced)
    if parameters > SMALL:
        # What was freed and is still held by this process would be counted, and is used again.
        backends.release()
    before = resources.resident_memory() - room.there - going if device is None else device[0]
    orders = 4 * training.epochs * training.train.rows * (1 if prepared.name == "numpy" else 2)
    kept, copies = _copies(config, parameters, optimizer, best, step.packed) if device is None else (best, 0)
    return Estimate(
        backend=prepared.name,
        before=max(before, 0),
        parameters=parameters,
        optimizer=optimizer,
        data=room.training + orders,
        kept=kept,
        temporaries=max(prepared.program.extra, copies),
        preparing=room.before,
    )


def _bytes(nest: Any) -> int:
    return sum(leaf.nbytes for leaf in tree.flatten(nest)[0])


def _copies(config: FitConfig, parameters: int, optimizer: int, best: int, packed: bool) -> tuple[int, int]:
    """The copies of a state that stay while there is something to do after every epoch, and the most on the way."""
    shown = optimizer if config.callbacks.read_model else 0
    state = parameters + optimizer
    # Out of a packed state, each tensor is one more copy.
    on_the_way = [packed * state, best and packed * (state + parameters), shown and state + packed * state]
    if config.checkpoint is not None:
        # The file is put together in memory, from copies of its tensors.
        on_the_way.append(parameters + 2 * (state + best))
    return best + shown, max(on_the_way)


def check(estimate: Estimate, there: int, device: tuple[int, int] | None) -> None:
    """Refuse a training that takes more memory than there is.

    Args:
        estimate: of the training.
        there: bytes of it that have been taken already.
        device: bytes in use and free on a device with memory of its own.

    Raises:
        ResourceError: says what would be needed, what there is, and what to do.
    """
    need = estimate.training - there
    free = _free(need) if device is None else device[1]
    if free is not None and need > free:
        largest = max(PARTS, key=lambda name: getattr(estimate, name))
        raise ResourceError(
            "the training does not fit into memory",
            where="fit",
            expected=f"{memory.worded(need)} free, of which {memory.worded(getattr(estimate, largest))} for {largest}",
            got=memory.worded(free),
            hint=HINTS[largest],
        )


def check_parameters(count: int) -> None:
    """Refuse to make a network whose parameters, of 4 bytes each, do not fit into memory with their gradients.

    Raises:
        ResourceError: says what would be needed, what there is, and what to do.
    """
    need = 2 * 4 * count
    free = _free(need)
    if free is not None and need > free:
        raise ResourceError(
            "the network does not fit into memory",
            where="fit",
            expected=f"{memory.worded(need)} free, for {count:,} parameters and their gradients",
            got=memory.worded(free),
            hint=HINTS["parameters"],
        )


def check_rows(need: int) -> None:
    """Refuse rows that cannot be made ready in the memory that there is.

    Raises:
        ResourceError: says what would be needed, what there is, and what to do.
    """
    free = _free(need)
    if free is not None and need > free:
        raise ResourceError(
            "the rows do not fit into memory while they are converted, split and standardised",
            where="X",
            expected=f"{memory.worded(need)} free",
            got=memory.worded(free),
            hint=HINTS["data"],
        )


def _free(need: int) -> int | None:
    """The memory that is free, where it is worth asking for that much."""
    return resources.available_memory() if need > SMALL else None
