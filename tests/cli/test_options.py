"""One table says what every command can be asked for."""

from dataclasses import fields

import pytest

from chainrule.cli import options
from chainrule.cli.main import COMMANDS, parser
from chainrule.cli.options import Fit, Options, table
from chainrule.errors import ArgumentError
from chainrule.tabular.settings import Shape


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
    completed = request.options.completed("classify", request.options.settings.complete(SHAPE))
    assert None not in [getattr(completed, name) for name, row in table(Options).items() if row.default is not None]


SHAPE = Shape("classify", 100, 8)


@pytest.mark.parametrize("words", [(), ("--task", "auto")])
def test_a_task_that_is_found_out_is_the_one_that_is_trained_for(words):
    given = asked("fit", "iris", *words).options
    assert given.task is None
    assert given.completed("classify", given.settings.complete(SHAPE)).task == "classify"


def test_what_was_given_is_what_the_networks_are_made_of():
    given = asked(
        "fit", "iris", "--lr", "0.5", "--layers", "7,5", "--folds", "3", "--members", "2", "--bins", "4"
    ).options
    assert given.settings.given() == {"lr": 0.5, "layers": [7, 5], "folds": 3, "members": 2, "bins": 4}
    completed = given.completed("classify", given.settings.complete(SHAPE))
    assert {name: getattr(completed, name) for name in given.settings.given()} == given.settings.given()


def test_completed_options_are_those_of_a_run_that_is_gone_on_with():
    given = Options(lr=0.5)
    settings = given.settings.complete(SHAPE)
    completed = given.completed("classify", settings)
    assert completed.settings.complete(SHAPE) == settings


@pytest.mark.parametrize(
    ("word", "value"), [("0.25", 0.25), ("rows.csv", "rows.csv"), ("2024.parquet", "2024.parquet")]
)
@pytest.mark.parametrize("option", ["validation", "test"])
def test_rows_that_stand_apart_are_a_share_or_a_table(option, word, value):
    assert getattr(asked("fit", "iris", f"--{option}", word), option) == value


@pytest.mark.parametrize(
    ("word", "value"), [("--epochs", "0"), ("--lr", "0"), ("--layers", "5,x"), ("--seed", "4294967296"), ("--l2", "-1")]
)
def test_a_value_out_of_range_is_refused_by_the_name_of_its_option(word, value):
    with pytest.raises(ArgumentError, match=word):
        asked("fit", "iris", word, value)


def test_only_some_options_may_change_when_a_run_is_gone_on_with():
    assert {name for name, row in table(Fit).items() if row.free} == {"epochs", "backend", "device", "time_budget"}


@pytest.mark.parametrize(
    ("word", "names"),
    [("a,b", ["a", "b"]), ('"a,b",c', ["a,b", "c"]), ('"a\nb"', ["a\nb"]), ('2"', ['2"']), ("", [""])],
)
def test_names_stand_between_commas_and_in_quotation_marks_where_they_hold_one(word, names):
    assert asked("fit", "iris", "--ignore", word).ignore == names


@pytest.mark.parametrize("word", ["a\nb", '"a', '"a"b'])
def test_what_is_no_list_of_names_is_refused(word):
    with pytest.raises(ArgumentError, match=r"--ignore: not a list of names .* stands in quotation marks"):
        asked("fit", "iris", "--ignore", word)
