"""Mutated CSV files: an answer for every row, or one clear line; never a traceback, and no other answer for other rows.

`pytest -m long` mutates 2,000 of them.
"""

import json
import random

import numpy as np
import pytest

from chainrule.data import Preprocessor, load
from chainrule.errors import ChainruleError

PIECES = [
    b'"', b'""', b"\n", b"\r\n", b"\r", b",", b";", b"\t", b"#", b"\x00", b"\xff", b"\xe9", "é".encode(), b" ",
    b"NA", b"NULL", b"inf", b"nan", b"1e999", b"-", b"=", b"sep=;\n", b"\x1b[31m", "\u202e".encode(),
]  # fmt: skip
CELLS = [
    b"", b"abc", b'"', b"12", b"1,2", b"0001", b"1/2/2020", b"$5", b"5%", b"x" * 300, b"  ", b"true", b"9" * 400,
    b"\xff\xfe", b"-0", b"1_0", b"0x1F", b"(5)", b"-inf",
]  # fmt: skip
ENCODINGS = ("utf-16", "latin-1", "utf-8-sig", "utf-16-le", "cp1252")
NAMES = ("x", "k", "colour", "day", "code", "price", "y")


def clean(draw):
    """A table with a column of every kind, as bytes."""
    delimiter = draw.choice(",;\t")
    colours = ["red", "green", "bl,ue" if delimiter != "," else "blue", '2"']
    rows = [
        (
            f"{draw.gauss(0, 1):.3f}",
            str(draw.randint(0, 9)),
            draw.choice(colours),
            f"2023-{draw.randint(1, 12):02}-{draw.randint(1, 28):02}",
            f"{draw.randint(0, 30):03}",
            f'"{draw.randint(1, 9)},{draw.randint(0, 999):03}"',
            ("yes", "no")[i % 2],
        )
        for i in range(draw.randint(6, 40))
    ]
    return ("\n".join(delimiter.join(row) for row in [NAMES, *rows]) + "\n").encode()


def mutated(content, draw):
    """Bytes that are dropped, doubled, changed, put in or cut off; lines and cells likewise; another encoding."""
    for _ in range(draw.choice([1, 1, 1, 2, 3, 6])):
        if not content:
            break
        start = draw.randrange(len(content))
        stop = start + draw.randint(1, 30)
        lines = content.split(b"\n")
        line = draw.randrange(len(lines))
        match draw.randrange(9):
            case 0:
                content = content[:start] + content[stop:]
            case 1:
                content = content[:stop] + content[start:]
            case 2:
                content = content[:start] + bytes([draw.randrange(256)]) + content[start + 1 :]
            case 3:
                content = content[:start] + draw.choice(PIECES) + content[start:]
            case 4:
                content = b"\n".join(lines[:line] + lines[line + 1 :])
            case 5:
                content = b"\n".join([*lines[:line], draw.choice(lines), *lines[line:]])
            case 6:
                cells = lines[line].split(b",")
                cells[draw.randrange(len(cells))] = draw.choice(CELLS)
                content = b"\n".join([*lines[:line], b",".join(cells), *lines[line + 1 :]])
            case 7:
                content = content.replace(b"\n", draw.choice([b"\r\n", b"\r", b"\n\n"]))
            case 8:
                content = content.decode("utf-8", "ignore").encode(draw.choice(ENCODINGS), "ignore")
    return content


def attempt(work):
    """What some work comes to, or None if it was refused, which takes one line that can be printed."""
    try:
        return work()
    except ChainruleError as error:
        said = str(error)
    assert said.isprintable()
    return None


def check(folder, seed):
    """Learn from a mutated table, and apply to it what was learnt from the table as it was."""
    draw = random.Random(seed)
    before, after = folder / "before.csv", folder / "after.csv"
    content = clean(draw)
    before.write_bytes(content)
    after.write_bytes(mutated(content, draw))
    source = attempt(lambda: load(str(after)))
    if source is None:
        return
    preprocessor = attempt(lambda: Preprocessor.fit(source))
    if preprocessor is not None:
        _learnt(preprocessor, source)
    _apply(Preprocessor.fit(load(str(before)), "y"), load(str(before)), source)


def _learnt(preprocessor, source):
    features = preprocessor.transform(source)
    preprocessor.target_values(source)
    assert features.shape == (source.rows, len(preprocessor.feature_names))
    assert np.isfinite(features).all()
    assert all(note.isprintable() for note in preprocessor.notes)
    again = Preprocessor.from_dict(json.loads(json.dumps(preprocessor.to_dict(), allow_nan=False)))
    assert again.transform(source).tobytes() == features.tobytes()


def _apply(preprocessor, before, after):
    """Rows that the mutation did not touch get the same answers."""
    notes = []
    features = attempt(lambda: preprocessor.transform(after, notes=notes))
    if features is None:
        return
    assert len(features) == after.rows
    assert np.isfinite(features).all()
    assert all(note.isprintable() for note in notes)
    if after.columns == before.columns:
        known = dict(zip(_rows(before), preprocessor.transform(before), strict=True))
        for row, answer in zip(_rows(after), features, strict=True):
            assert row not in known or np.array_equal(known[row], answer)


def _rows(source):
    return list(zip(*(source.column(name).to_list() for name in NAMES), strict=True))


@pytest.mark.parametrize("seed", range(40))
def test_a_mutated_table_is_read_or_refused_in_one_line(tmp_path, seed):
    check(tmp_path, seed)


@pytest.mark.long
@pytest.mark.parametrize("block", range(20))
def test_two_thousand_mutated_tables_are_read_or_refused_in_one_line(tmp_path, block):
    for seed in range(100):
        check(tmp_path, 1000 + 100 * block + seed)
