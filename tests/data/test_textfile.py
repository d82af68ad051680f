"""Text files in any encoding and packing: the same rows, or one clear line."""

import gzip
import shutil
import subprocess

import pytest

from chainrule.data import batches as batches_module
from chainrule.data import load, stream
from chainrule.errors import DataError

TEXT = "größe,y\n" + "".join(f"{i % 7}.5,{'uv'[i % 2]}\n" for i in range(60))


@pytest.mark.parametrize(
    ("encoding", "called"),
    [("utf-8", None), ("latin-1", "Windows-1252"), ("utf-16", "UTF-16"), ("utf-16-be", "UTF-16")],
)
def test_other_encodings_are_read_and_said(tmp_path, encoding, called):
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    (tmp_path / "t.csv").write_bytes(mark + TEXT.encode(encoding))
    source = load(str(tmp_path / "t.csv"))
    assert source.columns == ["größe", "y"]
    assert source.notes == ([f"t.csv: the text is not UTF-8, and is read as {called}"] if called else [])


def test_bytes_that_windows_has_no_character_for_are_latin(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"a,b\n1,\x81\xe9\n")
    source = load(str(tmp_path / "t.csv"))
    assert source.column("b").to_list() == ["\x81é"]
    assert "Latin-1" in source.notes[0]


def test_a_character_cut_by_the_end_of_a_piece_is_whole(tmp_path, monkeypatch):
    (tmp_path / "t.csv").write_text(TEXT.replace(".5", "ü"), encoding="utf-8")
    for size in range(20, 30):
        monkeypatch.setattr(batches_module, "TEXT", size)
        assert load(str(tmp_path / "t.csv")).column("größe").to_list() == [f"{i % 7}ü" for i in range(60)]


def test_packed_text_is_the_text(tmp_path):
    (tmp_path / "t.csv").write_text(TEXT, encoding="utf-8")
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(TEXT.encode()))
    plain, packed = (load(str(tmp_path / name)) for name in ("t.csv", "t.csv.gz"))
    assert (packed.name, packed.columns) == ("t", plain.columns)
    assert packed.cells.texts.to_list() == plain.cells.texts.to_list()
    assert stream(tmp_path / "t.csv.gz", "y").rows == 60


@pytest.mark.skipif(shutil.which("zstd") is None, reason="needs the command zstd")
def test_text_packed_with_zstandard_is_the_text(tmp_path):
    (tmp_path / "t.csv").write_text(TEXT, encoding="utf-8")
    (tmp_path / "l.csv").write_text(TEXT, encoding="latin-1")
    subprocess.run(["zstd", "-q", "t.csv", "l.csv"], cwd=tmp_path, check=True)
    assert load(str(tmp_path / "t.csv.zst")).columns == ["größe", "y"]
    with pytest.raises(DataError, match=r"cannot be unpacked to UTF-8 text.*unpack it first"):
        load(str(tmp_path / "l.csv.zst"))


DAMAGED = {
    "nonsense": b"nonsense",
    "cut": gzip.compress(TEXT.encode())[:40],
    "changed": gzip.compress(TEXT.encode())[:-6] + b"abcdef",
}


@pytest.mark.parametrize("damage", DAMAGED)
@pytest.mark.parametrize("name", ["t.csv.gz", "t.csv.zst"])
def test_damaged_packed_text_is_one_clear_line(tmp_path, name, damage):
    (tmp_path / name).write_bytes(DAMAGED[damage])
    with pytest.raises(DataError, match=rf"{name}: "):
        load(str(tmp_path / name))
