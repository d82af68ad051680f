"""`chainrule fit`: a table in, a trained model in a run folder out."""

from __future__ import annotations

import glob
import json
import os
import re
import sys
import time
import warnings
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from chainrule.cli import places, runs, summary
from chainrule.cli.made_ready import Prepared, plain
from chainrule.cli.options import Fit, Options, flag, table
from chainrule.cli.streamed import Streamed, must_stream
from chainrule.data.textfile import stem
from chainrule.errors import ArgumentError, ChainruleError, DataError, NotFiniteError, RunError, TrainingWarning


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
    model = prepared.model
    options = options.completed(model.preprocessor.task, model.settings)
    described = {
        "table": request.table,
        "options": asdict(options),
        "fingerprint": prepared.fingerprint,
        **runs.model_description(model),
    }
    with places.opened(request.out, _name(request.table), bool(request.overwrite), bool(request.resume)) as place:
        failure = _train(prepared, place, described, bool(request.resume))
        described |= runs.model_description(model)
        results = _results(prepared, began)
        try:
            where, trouble = places.finish(place, model.trainer, {**described, "results": results})
        except RunError as error:
            print(f"chainrule: error: {error}", file=sys.stderr)
            return 1
    found = {"run": str(where), **results, "notes": prepared.notes + model.trainer.history.notes + _left(where)}
    _show(found, as_json=bool(request.json))
    return _status(failure, trouble, found)


def _name(table: str) -> str:
    """What the run is called: as the table; where that is a pattern, as what it says, or as the folder."""
    name = stem(table)
    if glob.has_magic(name) and not os.path.exists(table):
        name = re.sub(r"[*?]|\[.*?\]", "", name).strip("-_. ") or Path(table).parent.name
    return name or "table"


def _left(where: Path) -> list[str]:
    """What to say of the files in a run folder that are not the run's."""
    others = runs.others(where)
    return [f"{where}: what is not of the run stays in it: {', '.join(others)}"] if others else []


def _prepared(table: str, options: Options) -> tuple[Prepared | Streamed, Options]:
    """A table made ready, in memory or, where that is short, as a stream; and the options with that choice."""
    if options.stream or (options.stream is None and must_stream(table)):
        options = replace(options, stream=True)
        return Streamed.of(table, options), options
    return Prepared.of(table, options), options


def _show(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(found, allow_nan=False, ensure_ascii=False))
    else:
        summary.show(found)


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


def _train(prepared: Prepared | Streamed, place: places.Place, described: dict[str, Any], resume: bool) -> str | None:
    """Train; gives the reason if the job failed. A wrong request leaves nothing behind."""
    trainer = prepared.model.trainer
    try:
        runs.write_description(place.part, described)
        with warnings.catch_warnings():
            # The bar and the summary say it in one line.
            warnings.simplefilter("ignore", TrainingWarning)
            prepared.fit(checkpoint=place.checkpoint, resume=resume)
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


def _results(prepared: Prepared | Streamed, began: float) -> dict[str, Any]:
    """What is to be said of a training, as plain values."""
    model = prepared.model
    history, preprocessor, settings = model.trainer.history, model.preprocessor, model.settings
    judged, found, guessed = prepared.estimate
    first = settings.metric or []
    found = {name: found[name] for name in [*first, *(name for name in found if name not in first)] if name in found}
    metrics, errors = plain(found)
    return {
        "task": preprocessor.task,
        "target": preprocessor.target,
        "classes": preprocessor.classes,
        "rows": prepared.sizes,
        "columns": len(preprocessor.columns),
        "features": len(preprocessor.feature_names),
        "networks": model.networks,
        "folds": settings.folds,
        "parameters": int(sum(parameter.size for parameter in model.trainer.model.parameters())),
        "layers": [*(settings.layers or []), model.width],
        "judged_by": judged,
        "metrics": metrics,
        "errors": errors,
        "baseline": plain(guessed)[0],
        "guess": prepared.guess,
        **prepared.details,
        **_training(history),
        "seconds": round(time.perf_counter() - began, 3),
    }


def _training(history: Any) -> dict[str, Any]:
    spent = history.trace_seconds + history.compile_seconds + history.verify_seconds
    return {
        "epochs": history.epochs,
        "best_epoch": history.best_epoch,
        "stopped": history.stopped,
        "backend": history.backend,
        "memory": history.memory,
        "trace_seconds": round(history.trace_seconds, 3),
        "compile_seconds": round(history.compile_seconds, 3),
        "from_cache": history.from_cache,
        "verify_seconds": round(history.verify_seconds, 3),
        "train_seconds": round(history.seconds - spent, 3),
    }


def _status(failure: str | None, trouble: str | None, found: dict[str, Any]) -> int:
    if trouble:
        print(f"chainrule: error: {trouble}; the trained model is in {found['run']}", file=sys.stderr)
    if failure and not trouble:
        print(f"chainrule: error: {' '.join(failure.split())}; the run so far is in {found['run']}", file=sys.stderr)
    return 1 if failure or trouble else 0
