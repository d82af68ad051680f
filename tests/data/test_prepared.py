"""Tables made ready in two passes: what is learnt batch by batch is what is learnt from all rows at once."""

import math
import os

import numpy as np
import polars as pl
import pytest

import chainrule as cr
from chainrule.data import Preprocessor, load, prepared, tallies
from chainrule.data import batches as batches_module
from chainrule.data.standardize import Moments
from chainrule.errors import ChainruleError, DataError, RunError

ROWS = 400


def table(rows=ROWS):
    """A column of every kind, with what makes each of them be left out or be treated apart."""
    rng = np.random.default_rng(0)
    number = rng.normal(5, 3, rows)
    texts = ["red", "green", "blue", None]
    return pl.DataFrame(
        {
            "id": range(rows),
            "number": number,
            "holes": [None if i % 9 == 0 else float(number[i]) for i in range(rows)],
            "huge": rng.normal(size=rows) * 1e200,
            "whole": rng.integers(-3, 9, rows),
            "colour": [texts[i] for i in rng.integers(0, 4, rows)],
            "level": [f"level {i}" for i in (rng.pareto(1.0, rows) * 8).astype(int) % 90],
            "flag": rng.random(rows) > 0.5,
            "maybe": [None if i % 50 == 0 else i % 2 == 0 for i in range(rows)],
            "same": ["x"] * rows,
            "free": [f"text {i}" for i in range(rows)],
            "day": ["2024-03-01"] * rows,
            "nothing": [None] * rows,
            "label": [None if i % 40 == 7 else "yes" if number[i] > 5 else "no" for i in range(rows)],
        }
    )


@pytest.fixture
def small(monkeypatch):
    """Batches of some rows only."""
    monkeypatch.setattr(batches_module, "TEXT", 6000)
    monkeypatch.setattr(batches_module, "CELLS", 14 * 23)


def close(a, b):
    """Whether two preprocessors hold the same, numbers up to the rounding of a sum."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(close(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(close(x, y) for x, y in zip(a, b, strict=True))
    return math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-15) if isinstance(a, float) else a == b


def everything(stream):
    X, y = np.empty((stream.rows, *stream.shape), np.float32), np.empty((stream.rows, *stream.y.shape[1:]), np.float32)
    stream.read(0, X, y)
    return X, y


@pytest.mark.parametrize(
    ("ending", "target"),
    [
        ("csv", "label"),
        ("csv", "holes"),
        *(("parquet", name) for name in ("label", "whole", "number", "flag", "colour")),
    ],
)
def test_what_is_learnt_in_batches_is_what_is_learnt_at_once(tmp_path, small, ending, target):
    path = tmp_path / f"t.{ending}"
    getattr(table(), f"write_{ending}")(path)
    stream, source = cr.data.stream(path, target), load(str(path))
    whole = Preprocessor.fit(source, target)
    assert close(stream.preprocessor.to_dict(), whole.to_dict())
    assert stream.classes == whole.classes
    X, y = everything(stream)
    assert np.array_equal(y, whole.target_values(source))
    rows = whole.labelled_rows(source)
    assert pytest.approx(whole.transform(source)[rows], rel=1e-5, abs=1e-6) == X


def test_nothing_is_learnt_from_rows_that_are_held_out(tmp_path, small):
    frame = table()
    frame.write_parquet(tmp_path / "t.parquet")
    stream = cr.data.stream(tmp_path / "t.parquet", "whole", "regress", validation=0.2, test=0.3, seed=4)
    lots = prepared.SplitSampler((0.2, 0.3), ROWS, ROWS, seed=4).draw(ROWS)
    train = np.flatnonzero(lots == 2)
    source = load(str(tmp_path / "t.parquet"))
    whole = Preprocessor.fit(source, "whole", "regress", train)
    assert close(stream.preprocessor.features.to_dict(), whole.features.to_dict())
    assert close(stream.preprocessor.fitted_target.mean, whole.fitted_target.mean)
    X = whole.transform(source)
    for part, rows in (((everything(stream)), train), (stream.validation, lots == 0), (stream.test, lots == 1)):
        assert part[0] == pytest.approx(X[rows], rel=1e-5, abs=1e-6)
        assert part[1] == pytest.approx(whole.target_values(source)[rows], rel=1e-5)


def test_a_class_that_only_held_out_rows_have_is_known_too(tmp_path, small):
    frame = table().with_columns(label=pl.when(pl.int_range(ROWS) == 11).then(pl.lit("rare")).otherwise("label"))
    frame.write_parquet(tmp_path / "t.parquet")
    for seed in range(4):
        stream = cr.data.stream(tmp_path / "t.parquet", validation=0.6, seed=seed)
        assert stream.classes == ["no", "rare", "yes"]


def test_arrays_are_prepared_where_that_is_asked_for(tmp_path, small):
    rng = np.random.default_rng(0)
    X, y = rng.normal(3, 2, (ROWS, 5)).astype(np.float32), rng.integers(0, 3, ROWS)
    X[:, 2] = 7
    np.savez(tmp_path / "t.npz", X=X, y=y)
    stream, source = cr.data.stream(tmp_path / "t.npz", prepare=True), load(str(tmp_path / "t.npz"))
    whole = Preprocessor.fit(source)
    assert close(stream.preprocessor.to_dict(), whole.to_dict())
    assert everything(stream)[0] == pytest.approx(whole.transform(source), rel=1e-5, abs=1e-6)
    raw = cr.data.stream(tmp_path / "t.npz")
    assert raw.preprocessor is None
    assert np.array_equal(everything(raw)[0], X)


def test_a_gap_in_an_array_is_the_median(tmp_path, small):
    X = np.arange(ROWS * 5, dtype=np.float32).reshape(ROWS, 5) % 91
    X[301, 3] = np.nan
    np.savez(tmp_path / "t.npz", X=X, y=np.arange(ROWS) % 2)
    stream = cr.data.stream(tmp_path / "t.npz", prepare=True)
    assert stream.preprocessor.feature_names == ["0", "1", "2", "3", "3 is missing", "4"]
    assert everything(stream)[0][301, 3:5].tolist() == [0, 1]


def test_a_cell_that_is_no_number_is_named_by_its_row_in_the_file(tmp_path, small):
    frame = table().with_columns(number=pl.when(pl.int_range(ROWS) == 333).then(np.inf).otherwise("number"))
    for ending in ("parquet", "csv"):
        getattr(frame, f"write_{ending}")(tmp_path / f"t.{ending}")
        stream = cr.data.stream(tmp_path / f"t.{ending}", "label")
        note = "number: 1 cell is no number: 'inf' in row 334; it counts as missing"
        assert note in stream.preprocessor.notes


def test_a_column_that_turns_out_to_be_codes_late_keeps_all_its_zeros(tmp_path, small):
    codes = [f"{i % 20 + 1}" for i in range(ROWS - 1)] + ["007"]
    frame = table().with_columns(code=pl.Series(codes))
    frame.write_csv(tmp_path / "t.csv")
    stream = cr.data.stream(tmp_path / "t.csv", "label")
    code = next(learnt for learnt in stream.preprocessor.features.learnt if learnt.name == "code")
    assert sorted(code.levels) == sorted({*codes})


def test_what_a_pass_notices_of_the_file_is_said(tmp_path, small):
    text = table().write_csv().splitlines(keepends=True)
    (tmp_path / "t.csv").write_text("".join([*text[:300], "\n", "# half of it\n", *text[300:]]))
    notes = cr.data.stream(tmp_path / "t.csv", "label").preprocessor.notes
    assert "t.csv: line 301 is blank and is no row" in notes
    assert "t.csv: 1 line that begin with # passed over, being no rows" in notes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": "lable"}, "target: no such column: expected one of 'label'"),
        ({"target": "same"}, "column 'same': the target is the same in every row"),
        ({"target": "nothing"}, "column 'nothing': every value of the target is missing"),
        ({"target": "free"}, "column 'free': too many classes"),
        ({"target": "colour", "task": "regress"}, "column 'colour': 288 of 288 cells are no number: .*--task classify"),
        ({"task": "guess"}, "task: unknown value"),
        ({"validation": 0.5, "test": 0.5}, "validation and test: no rows are left to train on"),
        ({"validation": 1.5}, "validation: not an allowed value"),
        ({"chunk_rows": 0}, "chunk_rows: not an allowed value: expected an integer of at least 1"),
    ],
)
def test_a_wrong_request_is_named(tmp_path, small, arguments, message):
    table().write_parquet(tmp_path / "t.parquet")
    with pytest.raises(ChainruleError, match=message):
        cr.data.stream(tmp_path / "t.parquet", **arguments)


def test_the_rows_lie_in_the_folder_asked_for_and_leave_nothing_there(tmp_path):
    table().write_parquet(tmp_path / "t.parquet")
    folder = tmp_path / "scratch"
    folder.mkdir()
    stream = cr.data.stream(tmp_path / "t.parquet", "label", folder=folder)
    assert str(folder) in stream.X.name
    assert os.listdir(folder) == []


def test_a_folder_without_room_is_named_before_anything_is_written(tmp_path, monkeypatch):
    table().write_parquet(tmp_path / "t.parquet")
    with pytest.raises(RunError, match=r"no room for the rows made ready .*; name another folder: .*TMPDIR"):
        cr.data.stream(tmp_path / "t.parquet", "label", folder=tmp_path / "none")
    full = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(prepared.shutil, "disk_usage", lambda folder: full)
    with pytest.raises(RunError, match=r"they take \S+ kB, and 1 kB are free"):
        cr.data.stream(tmp_path / "t.parquet", "label", folder=tmp_path)


def test_the_fingerprint_tells_the_rows_of_tables_apart(tmp_path):
    frame = table()
    frame.write_parquet(tmp_path / "a.parquet")
    frame.with_columns(whole=pl.col("whole").shift(1, fill_value=0)).write_parquet(tmp_path / "b.parquet")
    a, again, b = (
        cr.data.stream(tmp_path / name, "label").fingerprint for name in ("a.parquet", "a.parquet", "b.parquet")
    )
    assert a == again != b


def test_folders_for_temporary_files_follow_the_usual_order(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert prepared.scratch(None) == tmp_path
    assert str(prepared.scratch("elsewhere")) == "elsewhere"
    monkeypatch.delenv("TMPDIR")
    assert prepared.scratch(None).is_dir()


# ---- what is learnt batch by batch


def test_a_sample_keeps_to_its_size_and_its_quartiles_are_near(monkeypatch):
    monkeypatch.setattr(tallies, "SAMPLE", 3000)
    values = np.random.default_rng(0).normal(size=(50_000, 2))
    values[::3, 1] = np.nan
    tally = tallies.NumberTally(2)
    for part in np.array_split(values, 77):
        tally.add(part)
    assert 700 <= len(tally.sample) <= 1500
    assert not tally.is_complete
    assert np.array_equal(tally.sample, values[::64][: len(tally.sample)], equal_nan=True)
    assert tally.quartiles() == pytest.approx(np.nanquantile(values, [0.25, 0.5, 0.75], axis=0), abs=0.15)
    assert tally.count.tolist() == (~np.isnan(values)).sum(axis=0).tolist()
    assert (tally.low, tally.high) == (pytest.approx(np.nanmin(values, 0)), pytest.approx(np.nanmax(values, 0)))


def test_of_too_many_texts_a_share_is_kept_whatever_their_order(monkeypatch):
    monkeypatch.setattr(tallies, "MOST_TEXTS", 1000)
    words = [f"w{i}" for i in range(20_000)]
    kept = []
    for order in (words, words[::-1]):
        tally = tallies.TextTally()
        for start in range(0, len(order), 700):
            part = order[start : start + 700]
            tally.add(pl.Series(part), np.full(len(part), 2), np.arange(start, start + len(part)))
        texts = tally.texts()
        assert len(texts.text) / texts.share == pytest.approx(20_000, rel=0.1)
        assert set(texts.count.tolist()) == {2}
        assert texts.met == 40_000
        kept.append(set(texts.text))
    assert kept[0] == kept[1]


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_moments_of_blocks_are_those_of_all_rows(scale):
    values = np.random.default_rng(0).normal(3, 2, (1000, 2))
    moments = Moments("feature")
    for part in np.array_split(values, [3, 4, 500]):
        scaled = part * scale
        moments.merge(len(part), scaled.mean(axis=0), (part.std(axis=0)) * scale)
    assert moments.mean == pytest.approx(values.mean(axis=0) * scale, rel=1e-12)
    assert moments.sigma == pytest.approx(values.std(axis=0) * scale, rel=1e-12)


def test_more_texts_than_are_counted_are_free_text_and_no_classes(tmp_path, monkeypatch):
    monkeypatch.setattr(tallies, "MOST_TEXTS", 30)
    frame = table().with_columns(number=pl.col("number").cast(pl.String) + "x")
    frame.write_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="too many classes: got more than "):
        cr.data.stream(tmp_path / "t.parquet", "free")
    stream = cr.data.stream(tmp_path / "t.parquet", "holes")
    assert stream.preprocessor.task == "regress"
    assert "number" not in stream.preprocessor.columns
    assert any("holes: more than " in note for note in stream.preprocessor.notes)
