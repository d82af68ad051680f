"""Tables as people have them: what their columns are is learnt once, kept, and applied to every row alike."""

import datetime
import json

import numpy as np
import polars as pl
import pytest

from chainrule.data import Preprocessor, Reading, Source, load, tallies
from chainrule.data.columns import Category, Moment, Number
from chainrule.errors import ArgumentError, DataError

ROWS = 60


@pytest.fixture
def write(tmp_path):
    def to(name="t.csv", delimiter=",", **columns):
        """A file with these columns, cells as they are to stand in it."""
        lines = [delimiter.join(columns), *map(delimiter.join, zip(*columns.values(), strict=True))]
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return load(str(tmp_path / name))

    return to


def labels(rows=ROWS):
    return ["no" if i % 3 else "yes" for i in range(rows)]


def numbers(rows=ROWS, digits=3):
    return [f"{v:.{digits}f}" for v in np.random.default_rng(0).normal(size=rows)]


def learnt(preprocessor, name="a"):
    return next(column for column in preprocessor.features.learnt if column.name == name)


@pytest.fixture
def fit(write):
    def of(a, delimiter=",", task="classify", reading=None, y=None):
        """A preprocessor of one column, the file, and the features."""
        source = write(delimiter=delimiter, a=a, z=numbers(len(a)), y=y or labels(len(a)))
        preprocessor = Preprocessor.fit(source, "y", task, reading=reading)
        kept = Preprocessor.from_dict(json.loads(json.dumps(preprocessor.to_dict(), allow_nan=False)))
        features = kept.transform(source)
        assert features.tobytes() == preprocessor.transform(source).tobytes()
        return preprocessor, source, features[:, :-1]

    return of


# ---- numbers


@pytest.mark.parametrize("mark", ["", "NA", "NULL", "null", "#N/A", "-nan", "?", " NaN ", "None"])
def test_a_word_for_a_missing_value_leaves_a_column_of_numbers_one(fit, mark):
    values = [str(i % 23) for i in range(ROWS)]
    values[7] = mark
    preprocessor, _, features = fit(values)
    assert isinstance(learnt(preprocessor), Number)
    assert features[7].tolist() == [0, 1]
    assert preprocessor.notes == []


@pytest.mark.parametrize("cell", ["<0.1", "Total", "12abc", "inf", "1e999", "1,2,3"])
def test_one_stray_cell_is_named_and_counts_as_missing(fit, cell):
    values = numbers()
    values[11] = f'"{cell}"'
    preprocessor, _, features = fit(values)
    assert isinstance(learnt(preprocessor), Number)
    assert preprocessor.notes == [f"a: 1 cell is no number: {cell!r} in row 12; it counts as missing"]
    assert features[11].tolist() == [0, 1]


def test_a_word_that_nobody_named_is_refused_where_it_is_frequent_and_can_be_named(fit):
    values = ["n/d" if i % 5 == 0 else v for i, v in enumerate(numbers())]
    with pytest.raises(DataError, match=r"column 'a': 12 of 60 cells are no number: got 'n/d' in row 1; --na .*'n/d'"):
        fit(values)
    preprocessor, _, features = fit(values, reading=Reading(na=("n/d",)))
    assert isinstance(learnt(preprocessor), Number)
    assert features[::5].tolist() == [[0, 1]] * 12
    assert isinstance(learnt(fit(values, reading=Reading(numeric=("a",)))[0]), Number)


def test_few_numbers_beside_words_are_names(fit):
    preprocessor, _, _ = fit(["3+" if i % 5 == 0 else str(i % 3) for i in range(ROWS)])
    assert learnt(preprocessor).levels == ["0", "1", "2", "3+"]
    assert preprocessor.notes == ["a: names and no numbers, as '3+' is"]


def test_numbers_and_texts_of_every_kind_are_texts(fit):
    preprocessor, _, _ = fit([str(1000 + i % 30) if i % 3 else f"A/{i % 7}" for i in range(ROWS * 2)])
    assert isinstance(learnt(preprocessor), Category)


@pytest.mark.parametrize(
    ("delimiter", "write_as", "said"),
    [
        (",", lambda v: f'"{v:,.2f}"', "','"),
        (",", lambda v: f"${v:.2f}", "'$'"),
        (",", lambda v: f'"€ {v:,.2f}"', "',', '€'"),
        (",", lambda v: f"{v:.2f} EUR", "'EUR'"),
        (",", lambda v: f"{v:.2f}%", "'%'"),
        (",", lambda v: f'"({v:,.2f})"', "'(', ','"),
        (";", lambda v: f"{v:.2f}".replace(".", ","), None),
        (";", lambda v: f"{v:,.2f}".translate(str.maketrans(",.", ".,")), "'.'"),
        (";", lambda v: f"{v:,.2f}".translate(str.maketrans(",.", " ,")), "' '"),
        (",", lambda v: f"{v:,.2f}".replace(",", "'"), '"\'"'),
    ],
)
def test_numbers_are_read_as_they_are_written(fit, delimiter, write_as, said):
    values = np.random.default_rng(0).uniform(100, 9000, ROWS).round(2)
    preprocessor, _, features = fit([write_as(v) for v in values], delimiter)
    plain, _, expected = fit([repr(float(v)) for v in values])
    sign = -1 if write_as(1.0).startswith('"(') else 1
    assert features == pytest.approx(sign * expected, abs=1e-6)
    assert learnt(preprocessor).center == pytest.approx(sign * learnt(plain).center)
    notes = [f"a: {said} beside digits: read as numbers"] if said else []
    assert preprocessor.notes == notes


@pytest.mark.parametrize(("delimiter", "kind"), [(",", "a mark between thousands"), (";", "a decimal comma")])
def test_a_comma_that_may_be_either_is_decided_by_the_column_and_said(fit, delimiter, kind):
    quoted = [f'"{i % 9 + 1},{i % 7}{i % 5}0"' for i in range(ROWS)]
    preprocessor, _, _ = fit(quoted, delimiter)
    assert f"a: the comma in '1,000' is read as {kind}" in preprocessor.notes
    clear, _, _ = fit([*quoted[:-1], '"1,23"'], delimiter)
    assert learnt(clear).high < 10
    assert not any("the comma" in note for note in clear.notes)


def test_whole_numbers_that_are_few_stay_numbers(fit):
    assert isinstance(learnt(fit([str(i % 4) for i in range(ROWS)])[0]), Number)


def test_a_number_at_prediction_is_the_same_number_whatever_stands_beside_it(fit, write):
    preprocessor, _, features = fit([str(i % 23) for i in range(ROWS)])
    notes = []
    alone = preprocessor.transform(write("one.csv", a=["5"], z=["0.1"]), notes=notes)
    beside = preprocessor.transform(write("more.csv", a=["5", "", "NULL", "tall"], z=["0.1"] * 4), notes=notes)
    assert alone[0, 0] == beside[0, 0] == features[5, 0]
    assert beside[1:, 0].tolist() == [0, 0, 0]
    assert notes == [
        "a: 1 cell is no number: 'tall' in row 4; it counts as missing",
        "a: 3 missing, though none was in training; the median is taken",
    ]


def test_of_more_amounts_than_are_kept_none_is_taken_for_missing(fit, monkeypatch):
    monkeypatch.setattr(tallies, "MOST_TEXTS", 30)
    amounts = np.random.default_rng(0).uniform(1, 1000, 400).round(2)
    preprocessor, _, _ = fit([f"${v}" for v in amounts], y=[f"${v}" for v in amounts], task="auto")
    assert not learnt(preprocessor).missing
    assert learnt(preprocessor).center == pytest.approx(np.median(amounts), abs=200)
    assert preprocessor.task == "regress"


# ---- codes, names, words


def test_codes_keep_their_zeros_at_prediction_too(fit, write):
    codes = [f"{i % 30:03}" for i in range(ROWS * 3)]
    preprocessor, _, _ = fit(codes)
    assert learnt(preprocessor).levels == [f"{i:03}" for i in range(30)]
    assert "a: codes and no numbers, since '000' begins with a zero" in preprocessor.notes
    some = preprocessor.transform(write("some.csv", a=["004", "X", "4"], z=["0"] * 3))
    assert some[:, 0].tolist() == [5, 0, 0]
    assert isinstance(learnt(fit(codes, reading=Reading(numeric=("a",)))[0]), Number)


def test_a_category_of_true_and_false_is_read_alike_without_its_third_level(fit, write):
    values = [("True", "False", "Unknown")[i % 3] for i in range(ROWS)]
    preprocessor, _, features = fit(values)
    notes = []
    some = preprocessor.transform(write("some.csv", a=["True", "False"], z=["0", "0"]), notes=notes)
    assert np.array_equal(some[:, :-1], features[:2])
    assert notes == []


def test_words_for_missing_are_those_of_training(fit, write):
    values = [("None", "mild", "severe")[i % 3] for i in range(ROWS)]
    preprocessor, _, features = fit(values, reading=Reading(na=("",)))
    assert learnt(preprocessor).levels == ["None", "mild", "severe"]
    assert np.array_equal(preprocessor.transform(write("p.csv", a=["None"], z=["0"]))[:, :-1], features[:1])
    assert learnt(fit(values)[0]).levels == ["mild", "severe"]


def test_a_row_of_missing_values_has_an_answer_in_its_place(fit, write):
    preprocessor, _, _ = fit([("red", "green", "blue")[i % 3] for i in range(ROWS)])
    rows = preprocessor.transform(write("p.csv", a=["red", "", "blue"], z=["0.5", "", "-0.5"]))
    ends = preprocessor.transform(write("q.csv", a=["red", "blue"], z=["0.5", "-0.5"]))
    assert np.array_equal(rows[[0, 2]], ends)
    assert rows[1].tolist() == [0, 0, 0, 0]


def test_columns_can_be_ignored_or_be_said_to_be_names(fit):
    values = [str(i % 23) for i in range(ROWS)]
    assert "a" not in fit(values, reading=Reading(ignore=("a",)))[0].columns
    assert learnt(fit(values, reading=Reading(categorical=("a",)))[0]).levels == sorted({*values})
    with pytest.raises(ArgumentError, match="ignore: names the target: got 'y'"):
        fit(values, reading=Reading(ignore=("y",)))
    with pytest.raises(ArgumentError, match="numeric: no such column"):
        fit(values, reading=Reading(numeric=("b",)))


# ---- dates and times


def days(form, rows=ROWS):
    start = np.datetime64("2023-01-01T00:00")
    return [(start + np.timedelta64(37 * i * 61, "m")).item().strftime(form) for i in range(rows)]


@pytest.mark.parametrize(
    "form",
    ["%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%d %b %Y", "%d-%b-%Y", "%d/%m/%y", "%Y%m%dx"],
)
def test_dates_are_days_and_their_cycles(fit, form):
    preprocessor, _, features = fit(days(form))
    if form == "%Y%m%dx":
        assert not isinstance(learnt(preprocessor) if "a" in preprocessor.columns else None, Moment)
        return
    found = learnt(preprocessor)
    expected = [np.datetime64("2023-01-01", "D").astype(int) + 37 * i * 61 // 1440 for i in range(ROWS)]
    assert (found.low, found.high, found.cycles) == (min(expected), max(expected), ["week", "year"])
    weekday = (np.array(expected) + 3) % 7
    assert features[:, 1] == pytest.approx(np.sin(2 * np.pi * weekday / 7), abs=1e-6)
    assert features[:, 2] == pytest.approx(np.cos(2 * np.pi * weekday / 7), abs=1e-6)
    assert np.corrcoef(features[:, 0], expected)[0, 1] > 0.95


@pytest.mark.parametrize(
    "form", ["%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%SZ", "%m/%d/%Y %I:%M %p"]
)
def test_moments_have_the_hours_of_the_day(fit, form):
    preprocessor, _, features = fit(days(form))
    assert learnt(preprocessor).cycles == ["day", "week", "year"]
    hours = np.array([37 * i * 61 % 1440 / 1440 for i in range(ROWS)])
    assert features[:, 1] == pytest.approx(np.sin(2 * np.pi * hours), abs=1e-4)


@pytest.mark.parametrize("form", ["%H:%M", "%H:%M:%S", "%I:%M %p"])
def test_times_of_day_are_hours_and_a_cycle(fit, form):
    preprocessor, _, _ = fit(days(form))
    found = learnt(preprocessor)
    assert (found.clock, found.cycles) == ("time", ["day"])
    assert 0 <= found.low < found.high < 24


@pytest.mark.parametrize("seconds", [True, False])
def test_durations_are_hours(fit, seconds):
    hours = [7 * i % 50 for i in range(ROWS)]
    preprocessor, _, features = fit([f"{h}:30" + ":36" * seconds for h in hours])
    found = learnt(preprocessor)
    assert (found.clock, found.cycles) == ("span", [])
    assert (found.low, found.high) == pytest.approx(
        (min(hours) + 0.5 + 0.01 * seconds, max(hours) + 0.5 + 0.01 * seconds)
    )
    spans = pl.Series([datetime.timedelta(hours=h, minutes=30, seconds=36 * seconds) for h in hours])
    typed = pl.DataFrame({"a": spans, "z": [0.0] * ROWS})
    assert np.allclose(preprocessor.transform(Source.of_frame(typed))[:, :-1], features)


def test_a_date_with_two_readings_is_decided_by_the_column_and_said(fit):
    preprocessor, _, _ = fit([f"{i % 12 + 1:02}/{i % 11 + 1:02}/2023" for i in range(ROWS)])
    assert any("the first number is taken for the month" in note for note in preprocessor.notes)
    clear, _, _ = fit([f"{i % 28 + 1:02}/{i % 11 + 1:02}/2023" for i in range(ROWS)])
    assert clear.notes == []
    assert learnt(clear).format.format == "%d/%m/%Y"


def test_a_stray_date_is_named_and_missing_and_an_unreadable_one_at_prediction_too(fit, write):
    values = days("%Y-%m-%d")
    values[3] = "soon"
    preprocessor, _, features = fit(values)
    assert preprocessor.notes == ["a: 1 cell is no date: 'soon' in row 4; it counts as missing"]
    assert features[3].tolist() == [0, 0, 0, 0, 0, 1]
    notes = []
    new = preprocessor.transform(write("p.csv", a=[values[0], "31.12.2023"], z=["0", "0"]), notes=notes)
    assert np.array_equal(new[0, :-1], features[0])
    assert notes == ["a: 1 cell is no date: '31.12.2023' in row 2; it counts as missing"]


def test_dates_of_a_table_with_types_are_those_of_its_text(fit):
    preprocessor, _, features = fit(days("%Y-%m-%d"))
    typed = pl.DataFrame({"a": pl.Series(days("%Y-%m-%d")).str.to_date(), "z": pl.Series(numbers()).cast(float)})
    assert np.array_equal(preprocessor.transform(Source.of_frame(typed))[:, :-1], features)
    again = Preprocessor.fit(Source.of_frame(typed.with_columns(y=pl.Series(labels()))), "y")
    assert np.array_equal(again.transform(Source.of_frame(typed))[:, :-1], features)


# ---- the target


@pytest.mark.parametrize(
    ("written", "classes"),
    [
        (["01", "02"], ["01", "02"]),
        (["1.0", "2.0"], ["1.0", "2.0"]),
        (["TRUE", "FALSE"], ["FALSE", "TRUE"]),
        ([" <=50K", " >50K"], [" <=50K", " >50K"]),
        (["10", "9"], [9, 10]),
        (["-1", "1"], [-1, 1]),
        (["1", "2", "x"], ["1", "2", "x"]),
        (["yes", "no"], ["no", "yes"]),
    ],
)
def test_labels_come_back_as_they_were_written(fit, written, classes):
    y = [written[i % len(written)] for i in range(ROWS)]
    preprocessor, source, _ = fit(numbers(), y=y, task="auto")
    assert preprocessor.classes == classes
    assert [str(label) for label in preprocessor.decode(preprocessor.target_values(source))] == y


def test_a_class_that_is_called_none_is_said_to_be_missing_and_can_be_one(fit):
    y = [("None", "Mild", "Severe")[i % 3] for i in range(ROWS)]
    preprocessor, _, _ = fit(numbers(), y=y)
    said = "y: the target is missing in 20 rows, which are left out ('None' counts as missing, 20 times; --na '' makes"
    assert any(note.startswith(said) for note in preprocessor.notes)
    assert fit(numbers(), y=y, reading=Reading(na=("",)))[0].classes == ["Mild", "None", "Severe"]


def test_amounts_are_predicted_as_numbers(fit):
    amounts = np.random.default_rng(0).integers(100_000, 999_999, ROWS)
    preprocessor, source, _ = fit(numbers(), y=[f'"{v:,}"' for v in amounts], task="auto")
    assert preprocessor.task == "regress"
    assert preprocessor.decode(preprocessor.target_values(source)) == pytest.approx(amounts, rel=1e-6)
    assert (preprocessor.fitted_target.low, preprocessor.fitted_target.high) == (amounts.min(), amounts.max())


def test_a_target_that_is_no_number_in_one_row_leaves_that_row_out(fit):
    y = numbers()
    y[4] = "tbd"
    preprocessor, source, _ = fit([str(i % 23) for i in range(ROWS)], y=y, task="auto")
    assert preprocessor.task == "regress"
    assert "y: 1 cell is no number: 'tbd' in row 5; it counts as missing" in preprocessor.notes
    assert preprocessor.labelled_rows(source).tolist() == [i for i in range(ROWS) if i != 4]


def test_a_name_need_not_repeat_the_spaces_of_its_header(write):
    source = write(**{"z": numbers(), "TOTAL VALUE ": labels()})
    for name in ("TOTAL VALUE ", "TOTAL VALUE"):
        assert Preprocessor.fit(source, name).target == "TOTAL VALUE "
    with pytest.raises(ArgumentError, match="no such column: expected one of 'TOTAL VALUE '"):
        Preprocessor.fit(source, "TOTAL")


# ---- what is said


def test_control_characters_of_a_table_are_shown_escaped(write):
    evil = "\x1b[31mred\x07"
    source = write(**{evil: [str(i % 9) for i in range(ROWS)], "const": ["\x1b]0;x"] * ROWS, "y": labels()})
    preprocessor = Preprocessor.fit(source, "y")
    notes = list(preprocessor.notes)
    preprocessor.transform(write("p.csv", **{evil: ["1e9", "\x1b"], "const": ["1"] * 2}), notes=notes)
    assert notes
    assert all(note.isprintable() for note in notes)
    with pytest.raises(DataError) as error:
        preprocessor.transform(write("q.csv", **{"\x1bred": ["1"], "const": ["1"]}))
    assert str(error.value).isprintable()


def test_many_columns_share_a_line(write):
    source = write(**{f"c{i}": [str((i + 1) * r % 7 + 0.5) for r in range(ROWS)] for i in range(8)}, y=labels())
    notes = []
    Preprocessor.fit(source, "y").transform(write("p.csv", **{f"c{i}": ["1e9"] for i in range(8)}), notes=notes)
    assert notes == ["7 columns: far outside the range of training: c0, c1, c2, c3, c4 and 2 more"]


def test_a_column_that_repeats_the_target_is_named(write):
    y = numbers()
    minus = [v[1:] if v.startswith("-") else f"-{v}" for v in y]
    notes = Preprocessor.fit(write(a=numbers(), b=[*y[1:], y[0]], c=minus, y=y), "y").notes
    said = [note.split(":")[0] for note in notes if "says exactly what y says; --ignore" in note]
    assert said == ["a", "c"]
    notes = Preprocessor.fit(write(a=labels(), b=numbers(), y=labels()), "y").notes
    assert any(note.startswith("a: says exactly what y says") for note in notes)


def test_numbers_that_may_name_the_rows_are_named_or_left_out(write):
    rows, draw = 150, np.random.default_rng(0)
    drawn = [str(v) for v in draw.permutation(10**6)[:rows]]
    source = write(index=[str(v) for v in draw.permutation(rows)], number=drawn, z=numbers(rows), y=labels(rows))
    preprocessor = Preprocessor.fit(source, "y")
    assert preprocessor.columns == ["number", "z"]
    assert "index: left out, only numbers the rows; --numeric keeps it" in preprocessor.notes
    assert any(note.startswith("number: a different whole number in every row") for note in preprocessor.notes)
    assert "index" in Preprocessor.fit(source, "y", reading=Reading(numeric=("index",))).columns


def test_text_of_a_table_with_types_that_holds_numbers_is_said_to_be_read_as_such():
    frame = pl.DataFrame({"a": [str(i % 7) for i in range(ROWS)], "b": numbers(), "y": labels()})
    preprocessor = Preprocessor.fit(Source.of_frame(frame), "y")
    assert "a: text that holds numbers, and is read as numbers" in preprocessor.notes
    assert Preprocessor.fit(Source.of_frame(frame.with_columns(y="a")), "y").classes == list("0123456")


def test_dates_without_marks_are_numbers_and_said_to_look_like_dates(fit):
    preprocessor, _, _ = fit(days("%Y%m%d"))
    assert isinstance(learnt(preprocessor), Number)
    assert preprocessor.notes == ["a: numbers that look like dates; write 2024-12-31 for 20241231"]
    assert fit([str(20_000_000 + 97 * i) for i in range(ROWS)])[0].notes == []


def test_a_name_a_row_is_left_out_unless_it_is_asked_for(fit):
    values = [f"n{i}" for i in range(ROWS)]
    preprocessor, _, _ = fit(values)
    assert "a" not in preprocessor.columns
    assert "--categorical keeps it" in preprocessor.notes[0]
    assert len(learnt(fit(values, reading=Reading(categorical=("a",)))[0]).levels) == ROWS
