"""Delimited text: the cells that stand in it, wherever they stand."""

import pytest

from chainrule.data import load
from chainrule.errors import DataError


@pytest.fixture
def table(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "table.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return load(str(path))

    return write


def rows(source):
    return list(zip(*(source.column(name).to_list() for name in source.columns), strict=True))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(table, delimiter):
    source = table("a,b,c\n1,x y,2.5\n2,z,3.5\n".replace(",", delimiter))
    assert source.columns == ["a", "b", "c"]
    assert rows(source) == [("1", "x y", "2.5"), ("2", "z", "3.5")]


def test_a_comma_within_text_is_no_delimiter_where_semicolons_divide(table):
    assert rows(table("name;age\nDoe, Jane;31\nRoe, Max;40\n")) == [("Doe, Jane", "31"), ("Roe, Max", "40")]


@pytest.mark.parametrize("line", ["sep=;", "SEP=;", '"sep=;"'])
def test_a_first_line_may_name_the_delimiter(table, line):
    source = table(f"{line}\na,b;c\n1,5;2\n")
    assert (source.columns, rows(source)) == (["a,b", "c"], [("1,5", "2")])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-8"])
def test_a_byte_order_mark_is_not_part_of_the_first_name(table, encoding):
    assert rows(table("a,b\n1,ü\n", encoding)) == [("1", "ü")]
    assert table("a,b\n1,ü\n", encoding).columns == ["a", "b"]


def test_cells_and_names_are_exactly_what_stands_there(table):
    source = table('a ,b\n 1, x\n"01",TRUE \n')
    assert source.columns == ["a ", "b"]
    assert rows(source) == [(" 1", " x"), ("01", "TRUE ")]


def test_quoted_fields_may_hold_delimiters_quotes_and_line_ends(table):
    assert rows(table('a,b\n"x, ""y""\nz",1\nw,2\n')) == [('x, "y"\nz', "1"), ("w", "2")]


def test_a_quotation_mark_within_a_cell_is_a_character_like_any_other(table):
    assert rows(table('a,b\n1/2",x\n2",y\n')) == [('1/2"', "x"), ('2"', "y")]


def test_a_row_of_empty_cells_is_a_row_and_a_blank_line_is_none(table):
    source = table("\r\na,b\r\n1,2\r\n,\r\n\r\n3,4\r\n\r\n")
    assert rows(source) == [("1", "2"), ("", ""), ("3", "4")]
    assert source.notes == ["table.csv: line 5 is blank and is no row"]


def test_blank_lines_within_one_column_are_rows(table):
    assert rows(table("a\n1\n\n3\n\n")) == [("1",), ("",), ("3",)]
    assert rows(table('a\n"1"\n\n3\n\n')) == [("1",), ("",), ("3",)]


def test_lines_that_begin_with_a_hash_are_comments_unless_they_fit_the_header(table):
    source = table("# made by hand\n#\na,b\n1,2\n# half\n#1,2\n")
    assert (source.columns, rows(source)) == (["a", "b"], [("1", "2"), ("#1", "2")])
    assert source.notes == ["table.csv: 3 lines that begin with # passed over, being no rows"]
    assert table("#a,b\n1,2\n").columns == ["#a", "b"]


def test_a_nameless_empty_column_is_passed_over_and_a_nameless_full_one_gets_a_name(table):
    source = table("a,b,\n1,2,\n3,4,\n")
    assert (source.columns, rows(source)) == (["a", "b"], [("1", "2"), ("3", "4")])
    assert table(",a\n0,2\n1,4\n").columns == ["column_1", "a"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("  \n\n", "the file is empty"),
        ("# nothing but\n", "the file is empty"),
        ("a,b,a,b\n1,2,3,4\n", "column names that occur twice: 'a', 'b'"),
        ("a,b\n1,2\n1,2,3\n", "line 3: a line that does not fit the header: expected 2 fields, got 3"),
        ("a,b,c\n1,2,3\n\n1,2\n", "line 4: a line that does not fit the header: expected 3 fields, got 2"),
        ('a,b\n"x\ny",2\n"z",2,3\n', "line 4: a line that does not fit the header: expected 2 fields, got 3"),
        ('a,b\n1,2\n1,"2\n3,4\n', "line 3: cannot be read as a row (unexpected end of data)"),
        ('a,b\n1,"2 inch\n1,"3 inch\n', "line 2: cannot be read as a row (',' expected after '\"')"),
        ("5.1,3.5,setosa\n4.9,3.0,setosa\n", "the first line holds values, not column names; add a header line"),
        ("1,2,3\n4,5,6\n", "the first line holds values, not column names; add a header line"),
        (b"a,b\n1,\x002\n", "not a text file"),
    ],
)
def test_what_is_no_table_is_refused_with_the_place(table, text, message):
    with pytest.raises(DataError) as error:
        table(text)
    assert message in str(error.value)


def test_years_may_name_columns(table):
    assert table("country,2019,2020\nA,1,2\n").columns == ["country", "2019", "2020"]
