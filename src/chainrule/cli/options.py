"""What `fit` can be asked for, and which values it accepts."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

from chainrule.errors import ChainruleError, check_choice, check_number

ACTIVATIONS = ("silu", "relu", "leaky_relu", "elu", "selu", "gelu", "softplus", "tanh", "sigmoid")
OPTIMIZERS = (
    "adam", "adamw", "adamax", "nadam", "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adadelta", "lbfgs",
)  # fmt: skip
SCHEDULES = ("cosine", "constant", "step", "exponential", "linear", "onecycle", "warmup", "plateau")
BACKENDS = ("auto", "numpy", "xla")
PRECISIONS = ("float32", "bfloat16", "tf32", "float64")
DEVICES = ("auto", "cpu", "gpu")
TASKS = ("auto", "classify", "regress")
MOST_SEED = 2**32 - 1


@dataclass(frozen=True)
class Options:
    """The options of `fit` that shape the network and its training; None where the default is to be chosen.

    Example:
        >>> Options(epochs=5).given()
        {'epochs': 5}
    """

    target: str | None = None
    task: str | None = None
    layers: list[int] | None = None
    activation: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    optimizer: str | None = None
    schedule: str | None = None
    dropout: float | None = None
    l1: float | None = None
    l2: float | None = None
    backend: str | None = None
    precision: str | None = None
    device: str | None = None
    seed: int | None = None
    stream: bool | None = None
    chunk_rows: int | None = None

    @classmethod
    def of(cls, request: argparse.Namespace) -> Options:
        """The options in a request."""
        return cls(**{field.name: getattr(request, field.name) for field in fields(cls)})

    def given(self) -> dict[str, Any]:
        """Those that were given."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Teach a parser the options of `Options`."""

    def option(name: str, check: Callable[[str], Any], metavar: str, text: str) -> None:
        parser.add_argument(name, type=_typed(check), metavar=metavar, help=text)

    def choice(name: str, choices: tuple[str, ...], text: str) -> None:
        option(name, lambda value: check_choice("", value, choices), name[2:].upper(), f"{text}: {', '.join(choices)}")

    parser.add_argument("--target", metavar="COL", help="the column to predict (default: the last)")
    choice("--task", TASKS, "what to do with it")
    option("--layers", _layers, "N,N", "widths of the hidden layers, or none (default: 128,64)")
    choice("--activation", ACTIVATIONS, "between the layers")
    option("--epochs", _number(low=1, integer=True), "N", "passes over the rows (default: by their number)")
    option("--batch-size", _number(low=1, integer=True), "N", "rows a step (default: by their number)")
    option("--lr", _number(low=0, low_open=True), "X", "learning rate (default: by the optimizer)")
    choice("--optimizer", OPTIMIZERS, "update rule")
    choice("--schedule", SCHEDULES, "how the learning rate changes")
    option("--dropout", _number(low=0, high=1), "P", "share of hidden units dropped (default: 0.2 to classify, else 0)")
    option("--l1", _number(low=0), "X", "strength of the L1 penalty (default: 0)")
    option("--l2", _number(low=0), "X", "strength of the L2 penalty (default: 0)")
    choice("--backend", BACKENDS, "what computes")
    choice("--precision", PRECISIONS, "of numbers, or of matrix products alone (bfloat16, tf32)")
    choice("--device", DEVICES, "where it computes")
    parser.add_argument(
        "--stream", action="store_true", default=None, help="read the table in chunks (default: where memory is short)"
    )
    option("--chunk-rows", _number(low=1, integer=True), "N", "rows of a chunk (default: what fits 128 MB)")
    option("--seed", _number(low=0, high=MOST_SEED, integer=True), "N", "of everything random (default: 0)")


def _typed(check: Callable[[str], Any]) -> Callable[[str], Any]:
    """A check whose message reaches the user; argparse would put a poorer one in its place."""

    def checked(text: str) -> Any:
        try:
            return check(text)
        except ChainruleError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return checked


def _number(**limits: Any) -> Callable[[str], Any]:
    def number(text: str) -> Any:
        try:
            value: Any = int(text) if limits.get("integer") else float(text)
        except ValueError:
            value = text
        return check_number("", value, **limits)

    return number


def _layers(text: str) -> list[int]:
    if text.strip().lower() == "none":
        return []
    width = _number(low=1, integer=True)
    return [width(part.strip()) for part in text.split(",")]
