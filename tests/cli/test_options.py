"""One table says what every command can be asked for."""

from dataclasses import fields

import pytest

from chainrule.cli import options
from chainrule.cli.main import COMMANDS, parser
from chainrule.cli.options import Fit, Options, table
from chainrule.errors import ArgumentError


def asked(*words):
    parsed = parser().parse_args(words)
    return options.request(COMMANDS[parsed.command].options, parsed)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_field_of_a_command_is_a_row_and_is_in_its_help(command):
    kind = COMMANDS[command].options
    sub = parser()._subparsers._group_actions[0].choices[command]
    text = " ".join(sub.format_help().split())
    assert len(table(kind)) == len(fields(kind))
    for name, row in table(kind).items():
        assert (row.metavar or name.upper() if row.positional else options.flag(name)) in text
        assert row.words.split(" (")[0].split()[0] in text


def test_what_was_not_given_is_none_until_it_is_completed():
    request = asked("fit", "iris", "--lr", "0.5", "--resume")
    assert (request.table, request.lr, request.resume) == ("iris", 0.5, True)
    assert request.options == Options(lr=0.5)
    assert None not in [getattr(request.options.complete("classify", 100), name) for name in MADE_HERE]


MADE_HERE = [name for name, row in table(Options).items() if row.default is not None]


@pytest.mark.parametrize("words", [(), ("--task", "auto")])
def test_a_task_that_is_found_out_is_the_one_that_is_trained_for(words):
    assert asked("fit", "iris", *words).options.complete("classify", 100).task == "classify"


def test_what_is_given_stands_and_what_follows_from_it_follows():
    given = Options(optimizer="lbfgs", dropout=0.5)
    chosen = given.complete("classify", 1000)
    assert (chosen.batch_size, chosen.schedule, chosen.lr, chosen.dropout) == (1000, "constant", 1.0, 0.5)
    assert Options(batch_size=10).complete("regress", 1000).epochs == 40
    assert Options().complete("regress", 1000).dropout == 0.0


def test_a_default_is_not_shared_by_two_requests():
    first, second = (Options().complete("classify", 100) for _ in "ab")
    first.layers.append(3)
    assert second.layers == [128, 64]


@pytest.mark.parametrize(
    ("word", "value"), [("--epochs", "0"), ("--lr", "0"), ("--layers", "5,x"), ("--seed", "4294967296"), ("--l2", "-1")]
)
def test_a_value_out_of_range_is_refused_by_the_name_of_its_option(word, value):
    with pytest.raises(ArgumentError, match=word):
        asked("fit", "iris", word, value)


def test_only_some_options_may_change_when_a_run_is_gone_on_with():
    assert {name for name, row in table(Fit).items() if row.free} == {"epochs", "backend", "device"}
