"""The command `chainrule`: reads the request, runs it, and turns every error that a user can cause into one line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

from chainrule.cli import bench, fit, lab, options, predict
from chainrule.errors import ArgumentError, ChainruleError, nearest

DONE, FAILED, WRONG = 0, 1, 2


class Command(NamedTuple):
    """A command: what it is for, its options, and what runs it."""

    help: str
    options: type
    run: Callable[[Any], int]


COMMANDS = {
    "fit": Command("train a network on a table", options.Fit, fit.run),
    "predict": Command("apply a trained network to a table", options.Predict, predict.run),
    "lab": Command("measure what the theory claims", options.Lab, lab.run),
    "bench": Command("measure this machine beside other libraries", options.Bench, bench.run),
}


class Parser(argparse.ArgumentParser):
    """An argument parser that raises our own error, and has no usage to print before it."""

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would have printed."""
        raise ArgumentError(message)


def parser() -> Parser:
    """The parser of all commands."""
    top = Parser(prog="chainrule", description="Trains neural networks by backpropagation.", allow_abbrev=False)
    commands = top.add_subparsers(dest="command", title="commands", parser_class=Parser, metavar="COMMAND")
    for name, command in COMMANDS.items():
        options.add_arguments(commands.add_parser(name, help=command.help, allow_abbrev=False), command.options)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 0 done, 1 the job failed, 2 the request was wrong."""
    try:
        status = _run(sys.argv[1:] if arguments is None else list(arguments))
        sys.stdout.flush()
        return status
    except ChainruleError as error:
        say_error(str(error))
        return WRONG
    except KeyboardInterrupt:
        say_error("interrupted")
        return FAILED
    except MemoryError as error:
        say_error(f"memory is short: {error or 'no more can be had'}; use a smaller batch, network or table")
        return FAILED
    except BrokenPipeError:
        # Whoever read our output has seen enough; without this, the interpreter complains once more on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def say_error(message: str) -> None:
    """One line on standard error."""
    print("chainrule: error: " + " ".join(message.split()), file=sys.stderr)


def _run(arguments: list[str]) -> int:
    top = parser()
    parsed, unknown = top.parse_known_args(arguments)
    if parsed.command is None:
        raise ArgumentError("a command is missing", expected=" or ".join(COMMANDS), hint="see chainrule --help")
    command = COMMANDS[parsed.command]
    if unknown:
        known = [options.flag(name) for name, row in options.table(command.options).items() if not row.positional]
        near = f"did you mean {nearest(unknown[0].split('=')[0], known)[0]}?" if unknown[0].startswith("-") else None
        raise ArgumentError(f"unexpected argument {unknown[0]!r}", where=parsed.command, hint=near)
    return command.run(options.request(command.options, parsed))
