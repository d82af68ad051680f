"""Tables in batches: the same rows and types as read at once, wherever the cuts fall."""

import numpy as np
import polars as pl
import pytest

from chainrule.data import batches as module
from chainrule.data import load, stream
from chainrule.data.batches import is_table, tables
from chainrule.errors import DataError


@pytest.fixture
def write(tmp_path):
    def to(text, name="t.csv"):
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return to


def frame_of(source):
    """A source as one frame, text as it stands."""
    return pl.DataFrame([source.column(name) for name in source.columns])


def together(table):
    """All batches as one frame."""
    found = list(table.batches())
    starts = np.cumsum([0, *(batch.rows for _, batch in found)])
    assert [first for first, _ in found] == starts[:-1].tolist()
    return pl.concat([frame_of(batch).select(table.columns) for _, batch in found], how="vertical_relaxed")


TEXTS = {
    "types": "a,b,c,d,e\n" + "1,1,true,x,\n" * 30 + "1.5,2,False,y,\n,,,,\n" * 20,
    "late text": "a,b\n" + "1,2\n" * 40 + "one,2\n",
    "quoted line ends": 'a,b\n"x\ny ""z""",1\nw,2\n' * 1 + '"p, q\n\n",3\n' * 30,
    "windows": "\r\na;b\r\n1,5;x\r\n\r\n2,5;y\r\n" * 1 + "3,25;z\r\n" * 30,
    "old mac": "a,b\r1,2\r" + "3,4\r" * 40,
    "byte order mark": "\ufeffa,b\n" + "ü,1\n" * 40,
    "no line end at the end": "a,b\n" + "1,2\n" * 30 + "3,4",
    "blank lines": "a,b\n" + "1,2\n\n\n3,4\n \n" * 20,
    "empty column": "a,,c\n" + "1,,2\n" * 30,
    "header only": "a,b\n",
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("size", [40, 64, 101, 10_000])
def test_a_text_in_batches_is_the_table_read_at_once(write, monkeypatch, name, size):
    monkeypatch.setattr(module, "TEXT", size)
    path = write(TEXTS[name])
    table = tables(path)
    parts = together(table) if name != "header only" else pl.DataFrame()
    monkeypatch.setattr(module, "TEXT", 2**20)
    if name == "header only":
        assert [batch.rows for _, batch in table.batches()] in ([], [0])
        return
    whole = load(str(path))
    assert table.columns == whole.columns
    assert parts.rows() == frame_of(whole).rows()
    assert table.about == pytest.approx(whole.rows, rel=0.5, abs=2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n" + "1,2\n" * 30 + "1,2,3\n", "line 32: a line that does not fit the header: expected 2 fields, got 3"),
        ('a,b\n1,"2\n' + "1,2\n" * 100, "line 2: a row that does not end; is a quotation mark open?"),
        ("", "the file is empty"),
        ("1,2\n3,4\n", "the first line holds values, not column names"),
        ("a,a\n3,4\n", "column names that occur twice: 'a'"),
    ],
)
def test_a_bad_line_is_named_by_its_number_in_the_file(write, monkeypatch, text, message):
    monkeypatch.setattr(module, "TEXT", 40)
    with pytest.raises(DataError, match=message.replace("?", r"\?")):
        together(tables(write(text)))


def test_a_parquet_file_in_batches_is_the_file(tmp_path, monkeypatch):
    frame = pl.DataFrame({"a": range(100), "b": [f"t{i}" for i in range(100)], "c": [None, 1.5] * 50})
    frame.write_parquet(tmp_path / "t.parquet", row_group_size=32)
    monkeypatch.setattr(module, "CELLS", 21)
    table = tables(tmp_path / "t.parquet")
    assert (table.columns, table.about) == (["a", "b", "c"], 100)
    assert len(list(table.batches())) == 15
    assert together(table).equals(frame)


def test_several_files_are_one_table_whatever_the_order_of_their_columns(write, tmp_path):
    paths = [write("a,b\n1,x\n2,y\n", "p1.csv"), write("b,a\nz,3.5\n", "p2.csv")]
    for source in (paths, str(tmp_path / "p*.csv")):
        table = tables(source)
        assert (table.columns, table.about) == (["a", "b"], 3)
        assert together(table).rows() == [("1", "x"), ("2", "y"), ("3.5", "z")]


def test_files_with_other_columns_are_refused_and_named(write, tmp_path):
    first = write("a,b\n1,2\n", "p1.csv")
    with pytest.raises(DataError, match=r"p2\.csv: other columns than .*p1\.csv: got no 'b', 'c' besides"):
        tables([first, write("a,c\n1,2\n", "p2.csv")])
    for name, values in (("q1", [True]), ("q2", [2.5])):
        pl.DataFrame({"a": values, "y": ["u"]}).write_parquet(tmp_path / f"{name}.parquet")
    with pytest.raises(DataError, match=r"q2\.parquet, column 'a': of another type than in the files before"):
        stream(str(tmp_path / "q*.parquet"), "y")


def test_what_is_no_table_is_named(write, tmp_path):
    with pytest.raises(DataError, match=r"none\.csv: no such file"):
        tables(tmp_path / "none.csv")
    with pytest.raises(DataError, match="no file fits the pattern"):
        tables(str(tmp_path / "none*.csv"))
    with pytest.raises(DataError, match="not a Parquet file"):
        tables(write("a,b\n1,2\n", "t.parquet"))


def test_a_parquet_file_that_is_gone_in_between_is_named_with_its_rows(tmp_path):
    path = tmp_path / "t.parquet"
    pl.DataFrame({"a": range(100)}).write_parquet(path)
    table = tables(path)
    path.unlink()
    with pytest.raises(DataError, match=r"t\.parquet: rows 1 to 100 cannot be read"):
        list(table.batches())


def test_tables_are_known_by_their_names():
    assert is_table("a.csv")
    assert is_table(["a.parquet", "b.parquet"])
    assert not is_table("a.npy")
    assert not is_table(np.zeros((3, 2)))
    assert not is_table([[1.0, 2.0]])
    assert not is_table([])
