"""What is trained, and how: the parts and settings that a `Trainer` is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.errors import ArgumentError, check_choice, check_number
from chainrule.nn.layers import Lambda
from chainrule.nn.losses import is_sum
from chainrule.nn.module import Module
from chainrule.nn.named_losses import NamedLosses
from chainrule.optim.lr_schedules import Schedule as LearningRate
from chainrule.optim.optimizer import Optimizer
from chainrule.optim.penalties import Clip, Penalty
from chainrule.train import checks, placement, structures
from chainrule.train.inference import Inference
from chainrule.train.metrics import MetricSpec, chosen
from chainrule.train.placement import Place
from chainrule.train.plan import Plans
from chainrule.train.step import TrainingStep
from chainrule.train.structures import SINGLE, Structures

Array = np.ndarray[Any, Any]


class Setup:
    """The parts of a training, checked, and what is compiled of them.

    Args:
        model, loss, optimizer, schedule, penalty, clip, metrics, normalize, backend, precision, seed, device,
            loss_weights: as `Trainer` has them.

    Attributes:
        plans: the programs that trainings ran last.
        inference: the programs that predictions and evaluations ran last.
    """

    def __init__(
        self,
        model: Module,
        loss: Module | Callable[[Any, Any], Any] | Mapping[str, Any],
        optimizer: Optimizer,
        schedule: LearningRate | None = None,
        penalty: Penalty | Sequence[Penalty] | None = None,
        clip: Clip | None = None,
        metrics: MetricSpec | Mapping[str, MetricSpec] | None = None,
        normalize: str | None = None,
        backend: str = "auto",
        precision: str = "float32",
        seed: int = 0,
        device: str = "auto",
        loss_weights: Mapping[str, float] | None = None,
    ) -> None:
        self.loss = _loss(loss, loss_weights)
        parts: tuple[tuple[str, Any, type], ...] = (
            ("model", model, Module), ("loss", self.loss, Module), ("optimizer", optimizer, Optimizer),
            ("schedule", schedule or LearningRate(), LearningRate), ("clip", clip or Clip(), Clip),
        )  # fmt: skip
        for name, value, kind in parts:
            checks.part(name, value, kind)
        checks.one_number(self.loss)
        checks.fit_together(optimizer, checks.penalties(penalty), clip)
        self.model, self.optimizer = model, optimizer
        self.schedule, self.clip = schedule, clip
        self.penalty = tuple(penalty) if isinstance(penalty, Sequence) else penalty
        self.metrics = chosen(metrics, self.loss)
        self.normalize = None if normalize is None else check_choice("normalize", normalize, ("feature", "channel"))
        self.backend = check_choice("backend", backend, ("auto", "numpy", "xla"))
        self.precision = check_choice("precision", precision, placement.PRECISIONS)
        self.device = placement.device(device, self.backend)
        self.seed = check_number("seed", seed, low=0, high=2**32 - 1, integer=True)
        trained = list(model.parameters())
        if not trained:
            raise ArgumentError("there is nothing to train", where="model", expected="a module with parameters")
        # Held in another precision than it is trained in, a model would be rounded between two calls of fit.
        for tensor in (*trained, *(b for b in model.buffers() if b.dtype.kind == "f")):
            tensor.dtype = self.dtype
            tensor.value = np.asarray(tensor.value, tensor.dtype)
        self.plans, self.inference = Plans(), Inference()

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the parameters, the inputs and the predictions."""
        return placement.PRECISIONS[self.precision].dtype

    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled: all but the programs, which are made anew."""
        return {name: value for name, value in vars(self).items() if name not in ("plans", "inference")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, plans=Plans(), inference=Inference())

    def labels_fit(self, X: Sequence[Array], targets: Mapping[str, Sequence[Array]], how: Structures = SINGLE) -> None:
        """Refuse rows that the model does not take, and labels that are not among a classifier's outputs.

        Args:
            X: arrays that begin with those of X.
            targets: by what messages call them, arrays that begin with those of X and y.
            how: how X and y nest.
        """
        check = self.labels_check(X, how)
        for name, arrays in targets.items():
            check(name, arrays)

    def labels_check(self, X: Sequence[Array], how: Structures) -> Callable[[str, Sequence[Array]], None]:
        """What refuses labels that are not among the outputs for such rows: (what messages call y, arrays of X and y).

        Raises:
            ChainruleError: the model does not take the rows.
        """
        output = self.inference.output(self.step("numpy", structures=how), self.place, X[: how.X.size])
        structures.fit_dtypes(output, X[: how.X.size], how.X, self.dtype)
        return lambda name, arrays: structures.fit_labels(output, self.loss, name, arrays, how)

    def step(
        self,
        backend: str,
        schedule: LearningRate | None = None,
        structures: Structures = SINGLE,
        drawn_at: int = 0,
    ) -> TrainingStep:
        """What a training step on a backend is made of.

        Args:
            backend: where.
            schedule: bound to the length of the training.
            structures: how X and y nest.
            drawn_at: the steps done ever, by which an evaluation draws random numbers.
        """
        # One packed vector spares the interpreter most of its calls; XLA fuses the update of each tensor as it is.
        packed = backend == "numpy" and self.optimizer.elementwise
        return TrainingStep(
            self.model, self.loss, self.optimizer, schedule, checks.penalties(self.penalty), self.clip, self.metrics,
            self.seed, self.dtype, packed, placement.PRECISIONS[self.precision].products, drawn_at,
            structures,
        )  # fmt: skip

    @property
    def place(self) -> Place:
        """Where its graphs run, as far as its settings say."""
        return Place(self.backend, self.device, self.precision)

    @property
    def summed(self) -> bool:
        """Whether the loss of a batch is the sum over its rows."""
        return is_sum(self.loss)


def _loss(given: Any, weights: Mapping[str, float] | None) -> Module:
    """The loss as a module, whatever it is given as."""
    if isinstance(given, Mapping):
        return NamedLosses(given, weights)
    if weights is not None:
        raise ArgumentError("loss_weights needs losses by name", where="loss_weights", hint="loss={name: …}")
    own = callable(given) and not isinstance(given, (Module, type))
    return Lambda(given) if own else given
