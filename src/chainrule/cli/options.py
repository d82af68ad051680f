"""Every option of every command: its name, type, default and help stand here, and nowhere else.

A command is a dataclass whose fields are rows of the table, and an instance of it is a request.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self, TypeVar

from chainrule.data import Reading
from chainrule.errors import ArgumentError, ChainruleError, check_choice, check_number
from chainrule.tabular.choices import ACTIVATIONS, BACKENDS, DEVICES, OPTIMIZERS, PRECISIONS, SCHEDULES, TASKS
from chainrule.tabular.scores import CLASSES, NUMBERS
from chainrule.tabular.settings import RECIPE, Settings

MOST_SEED = 2**32 - 1
READING = ("na", "ignore", "categorical", "numeric")
"""The options that say how the table is to be read."""
Request = TypeVar("Request")
Parse = Callable[[str], Any]


@dataclass(frozen=True)
class Row:
    """What the table says of an option.

    Attributes:
        help: what it is, for people.
        parse: makes the value out of what was typed; None for a switch, which takes no value.
        default: what takes its place where it was not given; None where that is decided elsewhere.
        said: the default in words, where it is not a plain value.
        metavar: what stands for the value in the help.
        positional: whether it is told by its place instead of by its name; "?" where it may be left out.
        free: whether a run may be gone on with otherwise than it began.
    """

    help: str
    parse: Parse | None
    default: Any
    said: str
    metavar: str
    positional: bool | str
    free: bool

    @property
    def words(self) -> str:
        """The help, and the default in words."""
        said = self.said or ("" if self.default is None else str(self.default))
        return f"{self.help} (default: {said})" if said else self.help


def _row(
    help: str,
    parse: Parse | None = str,
    *,
    default: Any = None,
    said: str = "",
    metavar: str = "",
    positional: bool | str = False,
    free: bool = False,
) -> Any:
    return field(default=None, metadata={"row": Row(help, parse, default, said, metavar, positional, free)})


def _choice(help: str, choices: Collection[str], default: Any, said: str = "", free: bool = False) -> Any:
    names = tuple(choices)
    return _row(
        f"{help}: {', '.join(names)}", lambda text: check_choice("", text, names), default=default, said=said, free=free
    )


def _number(**limits: Any) -> Parse:
    def number(text: str) -> Any:
        try:
            value: Any = int(text) if limits.get("integer") else float(text)
        except ValueError:
            value = text
        return check_number("", value, **limits)

    return number


def _count(low: int = 1, high: int | None = None) -> Parse:
    return _number(low=low, integer=True) if high is None else _number(low=low, high=high, integer=True)


def _task(text: str) -> str | None:
    return None if check_choice("", text, TASKS) == "auto" else text


def _names(text: str) -> list[str]:
    """What is listed with commas between; a name that holds a comma stands in quotation marks."""
    try:
        return next(csv.reader([text], strict=True)) or [""]
    except csv.Error as error:
        hint = "a name with a comma, a quotation mark or a line break in it stands in quotation marks"
        raise ArgumentError(f"not a list of names ({error})", got=repr(text), hint=hint) from None


def _layers(text: str) -> list[int]:
    if text.strip().lower() == "none":
        return []
    width = _count()
    return [width(part.strip()) for part in text.split(",")]


def _metrics(text: str) -> list[str]:
    known = (*CLASSES, *NUMBERS)
    names = [check_choice("", name.strip(), known) for name in text.split(",")]
    if len(set(names)) < len(names):
        raise ArgumentError("a name that stands twice", got=repr(text))
    return names


def _part(text: str) -> float | str:
    """A share of the rows, or a table."""
    try:
        share = float(text)
    except ValueError:
        return text
    return float(check_number("", share, low=0, high=1, low_open=True, high_open=True))


def _setting(help: str, name: str, parse: Parse, said: str = "", metavar: str = "", free: bool = False) -> Any:
    default = RECIPE.get(name)
    return _row(help, parse, default=None if callable(default) else default, said=said, metavar=metavar, free=free)


@dataclass(frozen=True)
class Options:
    """The options of `fit` that shape the model and its training; None where one was not given.

    Example:
        >>> Options(epochs=5).given()
        {'epochs': 5}
    """

    target: str | None = _row("the column to predict", metavar="COL", said="the last")
    task: str | None = _row("what to do with it: auto, classify, regress", _task, said="auto")
    na: list[str] | None = _row(  # noqa: RUF009  # it makes a field
        "further words for a missing value; an empty one ('') replaces the usual ones", _names,
        said="those of pandas", metavar="WORD,…",
    )  # fmt: skip
    ignore: list[str] | None = _row(  # noqa: RUF009  # it makes a field
        "columns to leave out", _names, metavar="COL,…"
    )
    categorical: list[str] | None = _row(  # noqa: RUF009  # it makes a field
        "columns of names, even if they look like numbers", _names, metavar="COL,…"
    )
    numeric: list[str] | None = _row(  # noqa: RUF009  # it makes a field
        "columns of numbers, even if they look like codes", _names, metavar="COL,…"
    )
    layers: list[int] | None = _setting(  # noqa: RUF009  # it makes a field
        "widths of the hidden layers, or none", "layers", _layers, said="by the rows", metavar="N,N"
    )
    activation: str | None = _choice("between the layers", ACTIVATIONS, RECIPE["activation"])
    optimizer: str | None = _choice("update rule", OPTIMIZERS, RECIPE["optimizer"])
    batch_size: int | None = _setting("rows a step", "batch_size", _count(), said="by their number", metavar="N")
    epochs: int | None = _setting(
        "passes over the rows, at most", "epochs", _count(), said="by their number", metavar="N", free=True
    )
    lr: float | None = _setting(
        "learning rate", "lr", _number(low=0, low_open=True), said="by the optimizer", metavar="X"
    )
    schedule: str | None = _choice("how the learning rate changes", SCHEDULES, None, said="cosine; constant for lbfgs")
    dropout: float | None = _setting(
        "share of hidden units dropped", "dropout", _number(low=0, high=1), said="0", metavar="P"
    )
    bins: int | None = _setting(
        "pieces into which the range of each number is cut, 0 for none", "bins", _count(0), said="by the rows",
        metavar="N",
    )  # fmt: skip
    l1: float | None = _setting("strength of the L1 penalty", "l1", _number(low=0), said="0", metavar="X")
    l2: float | None = _setting("strength of the L2 penalty", "l2", _number(low=0), said="0", metavar="X")
    folds: int | None = _setting(
        "parts of the rows, each held out by networks of its own; 1 for none", "folds", _count(), said="5", metavar="K"
    )
    members: int | None = _setting("networks on each fold", "members", _count(), metavar="K")
    validation: float | str | None = _row(
        "rows that choose when to stop, in place of folds: a table, or a share", _part, metavar="TABLE|X"
    )
    test: float | str | None = _row(
        "rows that only judge: a table, or a share", _part, metavar="TABLE|X", said="none: the folds judge"
    )
    weights: str | None = _row("the column that says how much a row counts", metavar="COL")
    metric: list[str] | None = _row(  # noqa: RUF009  # it makes a field
        f"what is optimised, and named first: {', '.join([*CLASSES, *NUMBERS])}", _metrics, metavar="NAME,…",
        said="log-loss or squared error",
    )  # fmt: skip
    class_weight: str | None = _choice("how much a class counts", ("balanced",), None, said="as many rows as it has")
    time_budget: float | None = _row(
        "seconds after which the training ends, with the best so far", _number(low=0, low_open=True), metavar="S",
        free=True,
    )  # fmt: skip
    backend: str | None = _choice("what computes", BACKENDS, "auto", free=True)
    precision: str | None = _choice("of numbers, or of matrix products alone (bfloat16, tf32)", PRECISIONS, "float32")
    device: str | None = _choice("where it computes", DEVICES, "auto", free=True)
    stream: bool | None = _row("read the table in chunks", None, said="where memory is short")
    chunk_rows: int | None = _row("rows of a chunk", _count(), said="what fits 128 MB", metavar="N")
    seed: int | None = _row("of everything random", _count(0, MOST_SEED), default=0, metavar="N")

    def given(self) -> dict[str, Any]:
        """Those that were given."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @property
    def reading(self) -> Reading:
        """How the columns of the table are to be read."""
        given = {name: tuple(value) for name in READING if (value := getattr(self, name)) is not None}
        return Reading(**given)

    @property
    def settings(self) -> Settings:
        """Those that shape the networks and their training."""
        return Settings(**{entry.name: getattr(self, entry.name, None) for entry in fields(Settings)})

    def completed(self, task: str, settings: Settings) -> Self:
        """These, with the task that was found and with complete settings."""
        found = {name: value for name, value in asdict(settings).items() if hasattr(self, name)}
        return replace(self, task=task, seed=settings.seed, **{n: v for n, v in found.items() if n != "seed"})


@dataclass(frozen=True)
class Fit(Options):
    """A request to `fit`."""

    table: str = _row("a CSV, Parquet or .npz file, or a bundled set such as digits", positional=True)
    out: str | None = _row("the run folder", metavar="FOLDER", said="a fresh one in runs/")
    resume: bool | None = _row("go on with the run in --out", None)
    overwrite: bool | None = _row("replace the run in --out", None)
    json: bool | None = _row("print one JSON object in place of the summary", None)

    @property
    def options(self) -> Options:
        """What shapes the network and its training."""
        return Options(**{name: getattr(self, name) for name in table(Options)})


@dataclass(frozen=True)
class Predict:
    """A request to `predict`."""

    run: str = _row("a run folder that fit has made", positional=True)
    table: str = _row("the rows to predict, with the columns of the training table", positional=True)
    out: str | None = _row("a .csv or .parquet file", metavar="FILE", said="CSV on standard output")
    proba: bool | None = _row("a column of probabilities a class in place of the label", None)
    keep: list[str] | None = _row(  # noqa: RUF009  # it makes a field
        "columns of the table to write before the answers", _names, metavar="COL,…"
    )
    overwrite: bool | None = _row("replace the file --out", None)


@dataclass(frozen=True)
class Lab:
    """A request to `lab`."""

    name: str | None = _row("which lab (without a name they are listed)", positional="?")
    all: bool | None = _row("run all of them, and write a page that lists them", None)
    out: str | None = _row("the folder for the pages", default="labs", metavar="DIR")
    json: bool | None = _row("print one JSON object, last, on standard output", None)

    @property
    def folder(self) -> str:
        """The folder for the pages."""
        return self.out or table(Lab)["out"].default


@dataclass(frozen=True)
class Bench:
    """A request to `bench`."""

    json: bool | None = _row("print one JSON object, last, on standard output", None)


def table(command: type) -> Mapping[str, Row]:
    """The rows of a command by their names.

    Example:
        >>> table(Fit)["batch_size"].words
        'rows a step (default: by their number)'
    """
    return {entry.name: entry.metadata["row"] for entry in fields(command)}


def flag(name: str) -> str:
    """An option as it is typed.

    Example:
        >>> flag("batch_size")
        '--batch-size'
    """
    return "--" + name.replace("_", "-")


class _Once(argparse.Action):
    """Stores a value, of which there may be one only: of two, either would be dropped unsaid."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Store the value."""
        if option_string is not None and option_string in namespace.__dict__.setdefault("given_once", []):
            raise ArgumentError("given twice", where=option_string, hint="give it once")
        namespace.given_once.append(option_string)
        setattr(namespace, self.dest, values)


def add_arguments(parser: argparse.ArgumentParser, command: type) -> None:
    """Teach a parser the options of a command."""
    for name, row in table(command).items():
        metavar = row.metavar or name.upper()
        if row.positional:
            nargs = {} if row.positional is True else {"nargs": row.positional}
            parser.add_argument(name, metavar=metavar, help=row.words, **nargs)  # type: ignore[arg-type]
        elif row.parse is None:
            parser.add_argument(flag(name), action="store_true", default=None, help=row.words)
        else:
            parser.add_argument(flag(name), type=_typed(row.parse), metavar=metavar, help=row.words, action=_Once)


def request(command: type[Request], parsed: argparse.Namespace) -> Request:
    """What was parsed, as a request."""
    return command(**{name: getattr(parsed, name) for name in table(command)})


def _typed(parse: Parse) -> Parse:
    """A check whose message reaches the user; argparse would put a poorer one in its place."""

    def checked(text: str) -> Any:
        try:
            return parse(text)
        except ChainruleError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return checked
