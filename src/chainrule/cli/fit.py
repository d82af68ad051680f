"""`chainrule fit`: a table in, a trained network in a run folder out."""

from __future__ import annotations

import hashlib
import json
import sys
import time
import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import chainrule as cr
from chainrule.cli import build, defaults, places, runs, summary
from chainrule.cli.options import Fit, Options, flag, table
from chainrule.cli.streamed import Streamed, must_stream
from chainrule.data import Preprocessor, Source, Split, Target, load, split
from chainrule.errors import ArgumentError, ChainruleError, DataError, NotFiniteError, RunError, TrainingWarning

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Prepared:
    """A table made ready: features and targets of the labelled rows, and which of them train, validate and test."""

    X: np.ndarray
    y: np.ndarray
    parts: Split
    preprocessor: Preprocessor
    notes: list[str]

    @property
    def inputs(self) -> int:
        """The width of the network's first layer."""
        return self.X.shape[1]

    @property
    def sizes(self) -> dict[str, int]:
        """The number of rows of each part."""
        return {name: len(getattr(self.parts, name)) for name in PARTS}

    @property
    def guess(self) -> float:
        """What one would guess without a network: the number of the most frequent class, or the mean."""
        y = self.y[self.parts.train]
        if self.preprocessor.classes:
            return int(np.bincount(y).argmax())
        return float(self.preprocessor.decode(y).mean())

    @property
    def fingerprint(self) -> str:
        """Tells one table's training rows from another's."""
        rows = self.parts.train
        return hashlib.sha256(self.X[rows].tobytes() + self.y[rows].tobytes()).hexdigest()[:16]

    def rows(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        """The features and targets of a part."""
        rows = getattr(self.parts, part)
        return self.X[rows], self.y[rows]

    @property
    def training(self) -> dict[str, Any]:
        """What `Trainer.fit` is to train on."""
        return dict(zip("Xy", self.rows("train"), strict=True))


def run(request: Fit) -> int:
    """Run the command."""
    began = time.perf_counter()
    options = request.options
    places.check_place(request.out, bool(request.overwrite), bool(request.resume))
    before: dict[str, Any] = {}
    if request.resume and request.out is not None:
        before = runs.describe(places.Place(Path(request.out)).there[-1])
        options = _as_before(options, before["options"])
    prepared, options = _prepared(request.table, options)
    if request.resume and before.get("fingerprint") != prepared.fingerprint:
        raise RunError("was trained on other rows", where=request.out, hint="go on with the table that it began with")
    options = options.complete(prepared.preprocessor.task, prepared.sizes["train"])
    trainer = build.trainer(options, prepared.inputs, outputs(prepared.preprocessor))
    described = {
        "table": request.table,
        "options": asdict(options),
        "fingerprint": prepared.fingerprint,
        "preprocessing": prepared.preprocessor.to_dict(),
    }
    with places.opened(request.out, Path(request.table).stem, bool(request.overwrite), bool(request.resume)) as place:
        failure = _train(trainer, fit_arguments(prepared, options), place, described, bool(request.resume))
        results = _results(trainer, prepared, options, began)
        try:
            where, trouble = places.finish(place, trainer, {**described, "results": results})
        except RunError as error:
            print(f"chainrule: error: {error}", file=sys.stderr)
            return 1
    found = {"run": str(where), **results, "notes": prepared.notes + trainer.history.notes + _left(where)}
    _show(found, as_json=bool(request.json))
    return _status(failure, trouble, found)


def _left(where: Path) -> list[str]:
    """What to say of the files in a run folder that are not the run's."""
    others = runs.others(where)
    return [f"{where}: what is not of the run stays in it: {', '.join(others)}"] if others else []


def outputs(preprocessor: Preprocessor) -> int:
    """The width of the network's last layer."""
    return len(preprocessor.classes or [None])


def _prepared(table: str, options: Options) -> tuple[Prepared | Streamed, Options]:
    """A table made ready, in memory or, where that is short, as a stream; and the options with that choice."""
    if options.stream or (options.stream is None and must_stream(table)):
        options = replace(options, stream=True)
        return Streamed.of(table, options), options
    return prepare(load(table), options), options


def _show(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(found, allow_nan=False, ensure_ascii=False))
    else:
        summary.show(found)


def prepare(source: Source, options: Options) -> Prepared:
    """Split the rows of a source, learn the preprocessing from those to train on, and apply it to all.

    Raises:
        ChainruleError: if the table cannot be used as it is.
    """
    target = Target.fit(source, options.target, options.task or "auto", reading=options.reading)
    rows = target.labelled_rows(source)
    y = target.values(source, rows)
    parts = split(y, target.task, seed=options.seed or 0)
    preprocessor = Preprocessor.fit(source, target.name, target.task, rows[parts.train], options.reading)
    # Rows that are held out are spoken of as well: what cannot be read in them counts as missing there too.
    notes = [*target.notes, *preprocessor.notes]
    X = preprocessor.transform(source, rows, notes)
    y = preprocessor.target_values(source, rows)
    return Prepared(X, y, parts, preprocessor, list(dict.fromkeys(notes)))


def fit_arguments(prepared: Prepared | Streamed, options: Options) -> dict[str, Any]:
    """The arguments of `Trainer.fit` for complete options."""
    held = prepared.rows("validation")
    return {
        **prepared.training,
        "epochs": options.epochs,
        "batch_size": options.batch_size,
        "validation": held if len(held[0]) else None,
        "early_stopping": defaults.PATIENCE if len(held[0]) else None,
    }


def _as_before(options: Options, before: dict[str, Any]) -> Options:
    """The options of a run that is gone on with; those given now must not differ, except the free ones."""
    rows = table(Options)
    for name, value in options.given().items():
        if not rows[name].free and before.get(name) != value:
            expected, got = repr(before.get(name)), repr(value)
            raise ArgumentError("differs from the run's", where=flag(name), expected=expected, got=got)
    try:
        return Options(**{**before, **options.given()})
    except TypeError as error:
        raise RunError("config.json is of another version", where="--resume", got=str(error)) from None


def _train(
    trainer: cr.Trainer, arguments: dict[str, Any], place: places.Place, described: dict[str, Any], resume: bool
) -> str | None:
    """Train; gives the reason if the job failed. A wrong request leaves nothing behind."""
    try:
        runs.write_description(place.part, described)
        with warnings.catch_warnings():
            # The bar and the summary say it in one line.
            warnings.simplefilter("ignore", TrainingWarning)
            trainer.fit(**arguments, checkpoint=place.checkpoint, resume=resume)
    except NotFiniteError as error:
        trainer.history.stopped = "diverged"
        return str(error)
    except (ChainruleError, OSError) as error:
        # Where something was learnt, the place became full or unwritable on the way; it is saved elsewhere.
        if isinstance(error, OSError) and trainer.history.epochs:
            trainer.history.stopped = "not saved"
            return str(error)
        if isinstance(error, DataError) and trainer.steps:
            trainer.history.stopped = "not read"
            return str(error)
        places.give_up(place)
        raise error if isinstance(error, ChainruleError) else RunError(str(error)) from None
    return "interrupted; --resume goes on" if trainer.history.stopped == "interrupted" else None


def _results(trainer: cr.Trainer, prepared: Prepared | Streamed, options: Options, began: float) -> dict[str, Any]:
    """What is to be said of a training, as plain values."""
    history, preprocessor = trainer.history, prepared.preprocessor
    return {
        "task": preprocessor.task,
        "target": preprocessor.target,
        "classes": preprocessor.classes,
        "rows": prepared.sizes,
        "columns": len(preprocessor.columns),
        "features": prepared.inputs,
        "parameters": int(sum(parameter.size for parameter in trainer.model.parameters())),
        "layers": [*(options.layers or []), outputs(preprocessor)],
        **summary.measure(trainer, preprocessor, prepared.guess, prepared.rows("test")),
        "epochs": history.epochs,
        "best_epoch": history.best_epoch,
        "stopped": history.stopped,
        "backend": history.backend,
        "memory": history.memory,
        "trace_seconds": round(history.trace_seconds, 3),
        "compile_seconds": round(history.compile_seconds, 3),
        "from_cache": history.from_cache,
        "verify_seconds": round(history.verify_seconds, 3),
        "train_seconds": round(
            history.seconds - history.trace_seconds - history.compile_seconds - history.verify_seconds, 3
        ),
        "seconds": round(time.perf_counter() - began, 3),
    }


def _status(failure: str | None, trouble: str | None, found: dict[str, Any]) -> int:
    if trouble:
        print(f"chainrule: error: {trouble}; the trained model is in {found['run']}", file=sys.stderr)
    if failure and not trouble:
        print(f"chainrule: error: {' '.join(failure.split())}; the run so far is in {found['run']}", file=sys.stderr)
    return 1 if failure or trouble else 0
