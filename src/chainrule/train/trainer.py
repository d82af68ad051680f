"""The Trainer: a model, a loss and an optimizer, made into one program and run over the data."""

from __future__ import annotations

import functools
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from chainrule import backends, tree
from chainrule.backends.cost import seconds
from chainrule.data.streams import Stream
from chainrule.errors import ArgumentError, TrainingWarning
from chainrule.graph.graph import Graph
from chainrule.nn.module import Module
from chainrule.train import checks, mistakes, prepare, structures
from chainrule.train import memory_estimate as memory
from chainrule.train import trainer_files as files
from chainrule.train.callbacks import Callback, Callbacks, EarlyStopping, callbacks_of
from chainrule.train.checkpoint_writer import CheckpointWriter
from chainrule.train.fit_loop import Loop, NotFinite, steps_a_call
from chainrule.train.history import History
from chainrule.train.loaders.data_loader import DataLoader
from chainrule.train.loaders.given_batches import are_batches
from chainrule.train.loaders.in_memory import Weights, foreseen
from chainrule.train.loaders.loader_choice import divided, loader_of
from chainrule.train.memory_estimate import Estimate
from chainrule.train.metrics import regresses
from chainrule.train.nonfinite import not_finite_error
from chainrule.train.progress import ProgressBar
from chainrule.train.session import FitConfig, FitSession
from chainrule.train.setup import Setup
from chainrule.train.state import Position, TrainState
from chainrule.train.structures import Standardizers, Structures

Array = np.ndarray[Any, Any]
T = TypeVar("T")
LARGE = 1_000_000
"""Parameters from which on it is worth some milliseconds to give freed memory back."""


class _OfState(Generic[T]):
    """An attribute of a trainer that is one of its state."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, trainer: Trainer, kind: Any = None) -> T:
        value: T = getattr(trainer.state, self._name)
        return value

    def __set__(self, trainer: Trainer, value: T) -> None:
        setattr(trainer.state, self._name, value)


class Trainer(Setup):
    """Trains a model: a training, with its gradients, validation and early stopping, is one graph run as one program.

    Args:
        model: any Module.
        loss: a loss of `chainrule.nn` with reduction "mean" or "sum", or any function (output, target) → one number.
            For a model that gives a dict, {output: loss}, whose sum is trained, or a function of two dicts.
        optimizer: of `chainrule.optim`.
        schedule: factor on the learning rate by step; None keeps it.
        penalty: L1, L2, or several: (L1(0.001), L2(0.01)).
        clip: ClipNorm or ClipValue.
        metrics: names and functions of your own. For classifiers "accuracy", "auc", "f1", "precision", "recall",
            "balanced_accuracy", "log_loss", "top5", for regressions "r2", "rmse", "mse", "mae", "mape", as scikit-learn
            defines them (averages over classes are unweighted). A function (output, target) of `Tensor`s gives one
            number; it gets all rows of an epoch at once. Of several outputs {output: these}, then called
            "kind_accuracy". By default ("accuracy",) for a classifier's loss and ("r2",) for a regression's, none for a
            loss of your own.
        normalize: "feature" or "channel" standardises X by the mean and deviation of the training rows, also when
            predicting; None leaves X as it is.
        backend: "numpy", "xla", or "auto": NumPy where the whole job is estimated to take less than compiling it.
        precision: "float32", "float64" (the model's parameters are converted to it), or one for the operands of matrix
            products alone, forward and backward: "bfloat16", or "tf32" on NVIDIA GPUs. Weights, the optimizer's state,
            sums, losses and statistics are then float32, and no scaling of the loss is needed.
        seed: fixes the order of the rows and the dropout masks; the initial weights are drawn when the model is made
            (see `chainrule.seed`).
        device: where compiled programs run: "cpu", "gpu", or "auto", JAX's own choice: a GPU where it finds one. It is
            not saved, since the next machine may have another.
        loss_weights: {output: w} by which losses by name are multiplied; 1 where nothing is said.

    Attributes:
        state: where trainings so far have led; what follows is of it.
        history: what the last `fit` saw, also where it ended in an error.
        steps, epochs: done ever.
        standardizer: of the features, learnt in the first `fit` with `normalize`.
        optimizer_state: what the optimizer keeps, its tensors by path; None before the first training. Where it is not
            of the parameters that are trained now (one is trained that was frozen, or has been replaced) the optimizer
            begins anew, and the history says so.

    Raises:
        ArgumentError: an argument is not one of these, or the machine has no such device.

    Example:
        >>> import chainrule as cr
        >>> cr.seed(0)
        >>> X = np.linspace(-1, 1, 64, dtype="float32").reshape(-1, 1)
        >>> trainer = cr.Trainer(cr.nn.Linear(1, 1), cr.nn.MSELoss(), cr.optim.SGD(lr=0.1))
        >>> history = trainer.fit(X, 3 * X + 1, epochs=50, batch_size=16, progress=False)
        >>> [round(float(p), 2) for p in trainer.predict([[0.0], [1.0]])[:, 0]]
        [1.0, 4.0]
    """

    @functools.cached_property
    def state(self) -> TrainState:
        """Where trainings so far have led."""
        return TrainState()

    history = _OfState[History]("history")
    steps = _OfState[int]("steps")
    epochs = _OfState[int]("epochs")
    standardizer = _OfState[Standardizers]("standardizer")
    optimizer_state = _OfState[Any]("optimizer")

    # ---- training

    def fit(
        self,
        X: Any,
        y: Any = None,
        epochs: int = 20,
        batch_size: int | None = None,
        validation: float | tuple[Any, Any] | None = None,
        shuffle: str = "epoch",
        early_stopping: int | EarlyStopping | None = None,
        progress: bool = True,
        callbacks: Sequence[Callback | Callable[[Trainer], Any]] = (),
        checkpoint: str | os.PathLike[str] | None = None,
        resume: bool = False,
        monitor: str | None = None,
        sample_weight: Any = None,
        class_weight: str | Mapping[Any, float] | None = None,
    ) -> History:
        """Train on; a second call goes on from where the first one ended: optimizer, schedule and counts go on.

        What has been changed in between counts: weights, the learning rate, attributes of modules, what a function of
        yours closes over. A schedule whose length is left out begins anew (see `chainrule.optim.lr_schedules`).
        Parameters whose `requires_grad` is False stay as they are; buffers (running statistics) move all the same.

        Args:
            X: (N, …) numbers, no NaN; or {name: array}, where the model's forward takes such a dict: whole numbers in
                it stay whole (indices, say), of at most 32 bits. A `chainrule.data.stream`, for data larger than
                memory, and batches (X, y) or (X, y, weight) bring their own targets. Batches are a list, a loader
                (PyTorch's `DataLoader`), or a function that gives an iterator; all are of one size, but the last may be
                smaller. They are gone through once to be checked, then once an epoch, and trained on as they come.
            y: (N,) class indices 0…K−1 for CrossEntropyLoss and NLLLoss, else numbers of the output's shape; or
                {name: array} where the loss is by name.
            epochs: passes over the rows, at least 1.
            batch_size: rows a step, at least 1; 32 by default, or all with an optimizer that needs all (`LBFGS`).
                Batches have their own. Larger than N uses all rows and says so. The last batch of an epoch may be
                smaller; it is trained on exactly, as a mean over its own rows.
            validation: None, the fraction of rows to hold out, (X, y), (X, y, weights), or batches of them. Of a
                stream at most 100,000 rows, or one chunk, are held out; of batches none.
            shuffle: the order of the rows is drawn anew each "epoch", "once", or "never".
            early_stopping: stop after so many epochs without a better value of `monitor`, and keep the best parameters;
                or an `EarlyStopping`, which says more. It runs within the program.
            progress: whether to show a bar on standard error.
            callbacks: `Callback`s, or functions that are called with this trainer after each epoch; one that returns
                True stops the training ("callback" in `history.stopped`). What they change counts from then on:
                weights, the learning rate, `requires_grad`, attributes; all but the first two may take a new program.
            checkpoint: a folder to keep the whole state in, about every ten seconds and at the end, within epochs too.
                Where it cannot be written the training goes on, with a warning and a note in the history.
            resume: go on from the checkpoint, bit for bit as if the training had never been broken off. Of batches a
                checkpoint is written after each epoch, and it goes on with what the loader gives next.
            sample_weight: (N,) how much each row counts, at least 0: as if it occurred so often. For a mean loss they
                are scaled to a mean of 1. Rows that are held out keep theirs; validation=(X, y, weights) has its own.
            class_weight: "balanced" (each class counts as much as any other), or {class: weight}, times the rows' own;
                for the rows that are trained on only.
            monitor: what early stopping and a schedule such as `ReduceOnPlateau` go by: "val_loss", "loss" or a metric:
                "val_auc" on the validation rows, "auc" on those that are trained on, each measured before its update.
                By default "val_loss"; a schedule without validation goes by "loss". An `EarlyStopping` has its own.

        Returns:
            The history. Ctrl-C ends the training cleanly: the history says "interrupted", the last state is kept.
            Mistakes that the theory names (probabilities into a cross-entropy, sorted labels that are not shuffled) are
            in its notes, and are warned of (`TrainingWarning`) before the first step.

        Raises:
            DataError: the arrays hold NaN, differ in length, or labels are not 0…K−1.
            ShapeError: shapes do not fit, naming the layer.
            ArgumentError: an argument is outside its range, or differs from the checkpoint's, every parameter is
                frozen, or the machine does not have the precision.
            RunError: there is no checkpoint to resume from, or the folder for it holds another program's files.
            NotFiniteError: the loss became NaN or infinite; names the step, the layer and the operation. The model
                keeps the last finite parameters.
        """
        early = checks.arguments(epochs, batch_size, shuffle, early_stopping, monitor, self.schedule)
        called = callbacks_of(callbacks)
        checks.something_to_train(self.model)
        if resume and checkpoint is None:
            raise ArgumentError("nothing to resume from", where="resume", hint="give checkpoint=, the folder")
        self.history = History()
        began = time.perf_counter()
        loader = loader_of(self, self.state, X, y, validation, Weights(sample_weight, class_weight), epochs > 1)
        size, shuffle = divided(loader, batch_size, shuffle, self.optimizer, self.history.notes)
        loader.set_batch_size(size)
        # Ours come last: what a checkpoint holds has to contain what a callback of the user's has changed.
        called += [] if checkpoint is None else [CheckpointWriter(checkpoint, loader.resumable)]
        called += [ProgressBar(epochs, loader.steps)] if progress else []
        config = FitConfig(epochs, size, shuffle, early, Callbacks(called, self), checkpoint, monitor)
        self.history.notes += loader.notes
        if checkpoint is not None:
            files.check_place(checkpoint)
        layout = {} if checkpoint is None else config.layout(loader.rows, self.seed) | loader.layout
        position = Position(layout=layout)
        if resume and checkpoint is not None:
            position = files.restore_training(checkpoint, self, self.state, epochs, position.layout)
        try:
            with self.place.entered():
                self._run(loader, config, position)
        finally:
            loader.close()
            if sum(p.size for p in self.model.parameters()) > LARGE:
                backends.release()
            self.history.seconds += time.perf_counter() - began
        return self.history

    def estimate(
        self,
        X: Any,
        y: Any = None,
        epochs: int = 20,
        batch_size: int | None = None,
        validation: float | tuple[Any, Any] | None = None,
        early_stopping: int | EarlyStopping | None = None,
        callbacks: Sequence[Callback | Callable[[Trainer], Any]] = (),
        checkpoint: str | os.PathLike[str] | None = None,
        monitor: str | None = None,
        sample_weight: Any = None,
        class_weight: str | Mapping[Any, float] | None = None,
    ) -> Estimate:
        """What memory `fit` with these arguments will take; the program is made, and `fit` then uses it.

        Nothing is trained, and the trainer stays as it is. Of arrays only shapes and dtypes matter, and y may be left
        out; a stream is read through once.

        Raises:
            ShapeError, ArgumentError: as `fit`.
        """
        early = checks.arguments(epochs, batch_size, "epoch", early_stopping, monitor, self.schedule)
        checks.something_to_train(self.model)
        standardizer = self.standardizer
        weights = Weights(sample_weight, class_weight)
        if isinstance(X, Stream) or are_batches(X, y):
            # Batches that can be had only once would be used up.
            loader = loader_of(self, self.state, X, y, validation, weights, again=True)
        else:
            loader = foreseen(self, self.state, X, y, validation, weights)
        try:
            size, shuffle = divided(loader, batch_size, "epoch", self.optimizer, [])
            called = callbacks_of(callbacks)
            called += [] if checkpoint is None else [CheckpointWriter(checkpoint, loader.resumable)]
            config = FitConfig(epochs, size, shuffle, early, Callbacks(called, self), checkpoint, monitor)
            loader.set_batch_size(size)
            with self.place.entered():
                found, state = prepare.prepared(self, self.state, loader, config, History(), self.steps, Position())
                return memory.stated(found, state, loader, config, self.optimizer_state)
        finally:
            loader.close()
            self.standardizer = standardizer

    def _run(self, loader: DataLoader, config: FitConfig, position: Position) -> None:
        history = self.history
        first = history.epochs
        begun = self.epochs - first
        start = self.steps - first * loader.steps - (len(position.record[0]) if position.record else 0)
        config.callbacks.fit_begin()
        prepared, state = prepare.prepared(self, self.state, loader, config, history, start, position)
        name, backend, step, plan, program = prepared
        estimate = memory.stated(prepared, state, loader, config, self.optimizer_state)
        memory.check(estimate, loader.room(backend).there, backend.device_memory())
        history.backend, history.memory = name, estimate.peak
        leaves, structure = tree.flatten(state)
        offset = prepare.schedule_offset(self, self.state, loader.steps)
        session = FitSession(config, self, self.state, step, plan, begun, start, offset, position.layout)
        self._tell(loader, config, session)
        # From here on the state lives where the program runs; large networks must not have it twice.
        del state
        self.optimizer_state = None
        loader.begin(config, self.seed, begun, backend)
        records = [plan.training.train.record_of(position.record)] if position.record else []
        loop = Loop(
            program, backend, plan.training, plan.gives, structure, backend.put(leaves), loader, session.rate, history,
            config.callbacks, session.after_call, steps_a_call(seconds(plan.training.train.graph, name)), records,
        )  # fmt: skip
        try:
            loop.run(first, config.epochs)
        except NotFinite as stop:
            raise not_finite_error(stop, loop, session.step, loader.steps) from None
        finally:
            session.finish(loop)
        config.callbacks.fit_end()

    def _tell(self, loader: DataLoader, config: FitConfig, session: FitSession) -> None:
        """Write down what the user should know, and warn of what the theory says cannot go well."""
        wrong = list(session.plan.mistakes)
        losses = structures.each_loss(self.loss, loader.structures.y)
        for loss, order in zip(losses, loader.label_orders if config.shuffle == "never" else [], strict=False):
            wrong += [] if regresses(loss) else mistakes.in_order(order, config.batch_size)
        for note in (*session.plan.notes, *session.notes(loader.steps), *wrong):
            self.history.note(note)
        for mistake in wrong:
            # The warning points at the caller of `fit`, past three methods of this class.
            warnings.warn(mistake, TrainingWarning, stacklevel=4)

    def step_graph(self, X: Any, y: Any, batch_size: int = 32) -> Graph:
        """The training step as one graph: (state…, X, y, rows) → (state…, record). What is printed is what runs."""
        inputs, of_X = structures.features(X, self.dtype)
        wanted, of_y = structures.targets(y, self.loss, self.dtype)
        step = self.step("xla", structures=Structures(of_X, of_y))
        return step.training(step.state(), [*inputs, *wanted], batch_size)

    # ---- using the model

    def predict(self, X: Any) -> Any:
        """The model's outputs in inference mode for every row of X: (N, …) in the trainer's precision.

        X is an array, or a dict of them as `fit` takes it. Where the model gives a tuple, a list or a dict, so does
        this, of arrays. Any number of rows is given to the model in pieces; one that mixes rows, as x − x.mean(0) does,
        gets them all at once.

        Raises:
            ShapeError: X has other columns than the model takes.
            DataError: X is not an array of finite numbers.
        """
        arrays, structure = self._inputs(X)
        return self.inference.outputs(self.step("numpy", structures=Structures(structure)), self.place, arrays)

    def evaluate(self, X: Any, y: Any) -> dict[str, float]:
        """The loss and the metrics on (X, y), in inference mode: {"loss": …, "accuracy": …}.

        Raises:
            ShapeError, DataError: as `fit`.
        """
        inputs, of_X = self._inputs(X)
        wanted, of_y = structures.targets(y, self.loss, self.dtype)
        for array, name in zip(wanted, structures.labels(of_y, "y"), strict=True):
            checks.equal_lengths(inputs[0], array, f"{structures.labels(of_X, 'X')[0]} and {name}")
        how = Structures(of_X, of_y)
        self.labels_fit(inputs, {"y": [*inputs, *wanted]}, how)
        return self.inference.scores(
            self.step("numpy", structures=how, drawn_at=self.steps), self.place, inputs, wanted, self.summed
        )

    def _inputs(self, X: Any) -> tuple[list[Array], tree.Structure]:
        """The arrays of X as the model takes them, and how they nest."""
        arrays, structure = structures.features(X, self.dtype)
        return structures.standardized(self.standardizer, arrays, structure), structure

    # ---- files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model, the recipe and the history to a folder: config.json, model.safetensors, history.jsonl.

        Raises:
            RunError: the folder cannot be written; what it held before is still there.
        """
        files.save(self, self.state, path)

    @staticmethod
    def load(path: str | os.PathLike[str], model: Module | None = None) -> Trainer:
        """The trainer that `save` wrote, ready to predict or to train on.

        Args:
            path: the folder.
            model: the model to load the parameters into, where it is not made of chainrule's own modules.

        Raises:
            RunError: the folder is not such a one, or is damaged.
        """

        def made(**arguments: Any) -> tuple[Setup, TrainState]:
            trainer = Trainer(**arguments)
            return trainer, trainer.state

        trainer, _ = files.load(path, made, model)
        assert isinstance(trainer, Trainer), "a trainer that is none"
        return trainer
