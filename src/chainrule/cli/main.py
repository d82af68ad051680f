"""The command `chainrule`: reads the request, runs it, and turns every error that a user can cause into one line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from chainrule.cli import bench, fit, lab, predict
from chainrule.errors import ArgumentError, ChainruleError, nearest

DONE, FAILED, WRONG = 0, 1, 2

COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "fit": fit.run,
    "predict": predict.run,
    "lab": lab.run,
    "bench": bench.run,
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
    fit.add_arguments(commands.add_parser("fit", help="train a network on a table", allow_abbrev=False))
    predict.add_arguments(commands.add_parser("predict", help="apply a trained network to a table", allow_abbrev=False))
    lab.add_arguments(commands.add_parser("lab", help="measure what the theory claims", allow_abbrev=False))
    bench.add_arguments(
        commands.add_parser("bench", help="measure this machine beside other libraries", allow_abbrev=False)
    )
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 0 done, 1 the job failed, 2 the request was wrong."""
    try:
        request = _request(sys.argv[1:] if arguments is None else list(arguments))
        status = COMMANDS[request.command](request)
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


def _request(arguments: list[str]) -> argparse.Namespace:
    top = parser()
    request, unknown = top.parse_known_args(arguments)
    if request.command is None:
        raise ArgumentError("a command is missing", expected=" or ".join(COMMANDS), hint="see chainrule --help")
    if unknown:
        known = [option for option in _options(request.command) if option.startswith("--")]
        near = f"did you mean {nearest(unknown[0].split('=')[0], known)[0]}?" if unknown[0].startswith("-") else None
        raise ArgumentError(f"unexpected argument {unknown[0]!r}", where=request.command, hint=near)
    return request


def _options(command: str) -> list[str]:
    sub = Parser(add_help=False)
    {"fit": fit, "predict": predict, "lab": lab, "bench": bench}[command].add_arguments(sub)
    return list(sub._option_string_actions)
