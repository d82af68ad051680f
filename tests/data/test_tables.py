import polars as pl
import pytest

from chainrule.data.tables import MISSING, read_csv
from chainrule.errors import DataError


@pytest.fixture
def table(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "table.csv"
        path.write_bytes(text.encode(encoding))
        return read_csv(path)

    return write


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(table, delimiter):
    frame = table("a,b,c\n1,x y,2.5\n2,z,3.5\n".replace(",", delimiter))
    assert frame.columns == ["a", "b", "c"]
    assert frame.rows() == [(1, "x y", 2.5), (2, "z", 3.5)]


def test_a_comma_within_text_is_no_delimiter_where_semicolons_divide(table):
    assert table("name;age\nDoe, Jane;31\nRoe, Max;40\n").rows() == [("Doe, Jane", 31), ("Roe, Max", 40)]


def test_decimal_commas_are_numbers_where_semicolons_divide(table):
    assert table("a;b\n1,5;x\n2,25;y\n").rows() == [(1.5, "x"), (2.25, "y")]


def test_a_byte_order_mark_is_not_part_of_the_first_name(table):
    assert table("a,b\n1,2\n", encoding="utf-8-sig").columns == ["a", "b"]


@pytest.mark.parametrize("mark", MISSING)
def test_every_mark_of_a_missing_value_is_read_as_missing(table, mark):
    frame = table(f"number,text\n1,x\n{mark},{mark}\n3,z\n")
    assert frame["number"].to_list() == [1, None, 3]
    assert frame["text"].to_list() == ["x", None, "z"]


def test_spaces_around_values_and_names_do_not_count(table):
    frame = table("a , b\n 1, x\n2 ,x \n")
    assert frame.to_dict(as_series=False) == {"a": [1, 2], "b": ["x", "x"]}


def test_types_come_from_all_rows_and_not_from_the_first(table):
    frame = table("a,b,c,d\n" + "1,1,true,1\n" * 300 + "1.5,x,False,2\n")
    assert [frame[c].dtype for c in "abcd"] == [pl.Float64, pl.String, pl.Boolean, pl.Int64]


def test_quoted_fields_may_hold_delimiters_quotes_and_line_ends(table):
    frame = table('a,b\n"x, ""y""\nz",1\nw,2\n')
    assert frame.rows() == [('x, "y"\nz', 1), ("w", 2)]


def test_windows_line_ends_and_blank_lines_are_read(table):
    assert table("\r\na,b\r\n1,2\r\n\r\n3,4\r\n\r\n").rows() == [(1, 2), (3, 4)]


def test_a_nameless_empty_column_is_passed_over_and_a_nameless_full_one_gets_a_name(table):
    assert table("a,b,\n1,2,\n3,4,\n").columns == ["a", "b"]
    assert table(",a\n0,2\n1,4\n").columns == ["column_1", "a"]


def test_one_column_is_a_table(table):
    assert table("a\n1\n2\n").rows() == [(1,), (2,)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("  \n\n", "the file is empty"),
        ("a,b,a,b\n1,2,3,4\n", "column names that occur twice: 'a', 'b'"),
        ("a,b\n1,2\n1,2,3\n", "line 3: a line that does not fit the header: expected 2 fields, got 3"),
        ("a,b,c\n1,2,3\n\n1,2\n", "line 4: a line that does not fit the header: expected 3 fields, got 2"),
        ('a,b\n"x\ny",2\n"z",2,3\n', "line 4: a line that does not fit the header: expected 2 fields, got 3"),
        ("5.1,3.5,setosa\n4.9,3.0,setosa\n", "the first line holds values, not column names; add a header line"),
        ("1,2,3\n4,5,6\n", "the first line holds values, not column names; add a header line"),
    ],
)
def test_what_is_no_table_is_refused_with_the_place(table, text, message):
    with pytest.raises(DataError) as error:
        table(text)
    assert message in str(error.value)


def test_years_may_name_columns(table):
    assert table("country,2019,2020\nA,1,2\n").columns == ["country", "2019", "2020"]


def test_another_encoding_is_refused_with_the_line(table):
    with pytest.raises(DataError, match=r"line 3: not UTF-8 text; save the table as UTF-8"):
        table("a,b\n1,2\né,3\n", encoding="latin-1")
