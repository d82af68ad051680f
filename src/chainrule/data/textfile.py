"""The text in a file, packed or not and in whichever encoding, in pieces of whole rows."""

from __future__ import annotations

import codecs
import gzip
import io
import os
import zlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np

from chainrule.errors import DataError

PACKED = (".gz", ".zst")
"""Endings behind the file's own one that say how it is packed."""
_PIECE = 2**23
_UNDEFINED = bytes((0x81, 0x8D, 0x8F, 0x90, 0x9D))
"""Bytes that Windows-1252 has no character for."""


def ending(path: str | os.PathLike[str]) -> str:
    """What a file's name says that is in it, unpacked.

    Example:
        >>> ending("prices.CSV.gz"), ending("prices.parquet")
        ('.csv', '.parquet')
    """
    return _unpacked_name(path).suffix.lower()


def stem(path: str | os.PathLike[str]) -> str:
    """A file's name without its endings.

    Example:
        >>> stem("data/prices.2023.csv.gz")
        'prices.2023'
    """
    return _unpacked_name(path).stem


def _unpacked_name(path: str | os.PathLike[str]) -> Path:
    name = Path(path)
    return name.with_suffix("") if name.suffix.lower() in PACKED else name


class TextFile:
    """A text file.

    Args:
        path: of it.

    Raises:
        DataError: it is not text, or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def encoding(self) -> str:
        """UTF-8, unless it cannot be; then what Windows or Latin-1 has for the bytes, or UTF-16 if it begins so."""
        decoder = codecs.getincrementaldecoder("utf-8-sig")()
        undefined = broken = False
        with self._open() as file:
            start = file.read(2)
            if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                return "utf-16"
            file.seek(0)
            while data := file.read(_PIECE):
                if b"\0" in data:
                    raise DataError("not a text file", where=str(self.path), got="bytes of value 0")
                undefined |= any(byte in data for byte in _UNDEFINED)
                if not broken:
                    try:
                        decoder.decode(data)
                    except UnicodeDecodeError:
                        broken = True
        if not broken:
            try:
                decoder.decode(b"", final=True)
                return "utf-8-sig"
            except UnicodeDecodeError:
                pass
        return "latin-1" if undefined else "cp1252"

    @property
    def notes(self) -> list[str]:
        """What the user should be told."""
        names = {"latin-1": "Latin-1", "cp1252": "Windows-1252", "utf-16": "UTF-16"}
        other = names.get(self.encoding)
        return [f"{self.path.name}: the text is not UTF-8, and is read as {other}"] if other else []

    def texts(self, size: int) -> Iterator[tuple[int, str]]:
        """Pieces of about so many bytes, each with the number of its first line; line ends are of one kind.

        Blank lines at the end of the file are left out.

        Raises:
            DataError: a row does not end, or the file is damaged.
        """
        line, rest = 1, b""
        encoding = self.encoding
        with self._open() as file:
            for data in self._pieces(file, size):
                rest += data
                end = _last_row_end(rest)
                if not end and len(rest) > 4 * size:
                    raise DataError(
                        "a row that does not end", where=f"{self.path}, line {line}", hint="is a quotation mark open?"
                    )
                # Blank lines go before what follows them, so that those at the end can be told.
                while rest[:end].endswith(b"\n\n"):
                    end -= 1
                if end > 1:
                    text = _decoded(rest[:end], encoding, line)
                    rest = rest[end:]
                    yield line, text
                    line += text.count("\n")
        if rest.strip():
            yield line, _decoded(rest, encoding, line)

    def _pieces(self, file: BinaryIO, size: int) -> Iterator[bytes]:
        """The bytes, UTF-8 if they were UTF-16, with line ends of one kind."""
        while data := file.read(size):
            if data.endswith(b"\r"):
                data += file.read(1)
            yield data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _open(self) -> BinaryIO:
        if self.__dict__.get("encoding") == "utf-16":
            return io.BytesIO(self._utf16())
        suffix = self.path.suffix.lower()
        if suffix == ".gz":
            return _Checked(gzip.open(self.path), self.path)
        if suffix == ".zst":
            return io.BytesIO(_unpacked(self.path))
        return open(self.path, "rb")

    def _utf16(self) -> bytes:
        kept = self.__dict__.pop("encoding")
        try:
            with self._open() as file:
                return file.read().decode("utf-16").encode()
        except UnicodeDecodeError as error:
            raise DataError("damaged UTF-16 text", where=str(self.path), got=str(error)) from None
        finally:
            self.__dict__["encoding"] = kept


class _Checked(io.BufferedReader):
    """A packed file whose damage is an error of ours."""

    def __init__(self, file: gzip.GzipFile, path: Path) -> None:
        super().__init__(file)
        self._path = path

    def read(self, size: int | None = -1) -> bytes:
        try:
            return super().read(size)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError("damaged, or not packed with gzip", where=str(self._path), got=str(error)) from None


def _unpacked(path: Path) -> bytes:
    import polars as pl

    try:
        return "\n".join(pl.read_lines(path, name="line")["line"]).encode()
    except pl.exceptions.PolarsError as error:
        hint = "unpack it first, with zstd -d"
        got = str(error).splitlines()[0]
        raise DataError("cannot be unpacked to UTF-8 text", where=str(path), got=got, hint=hint) from None


def _decoded(data: bytes, encoding: str, line: int) -> str:
    if encoding == "utf-16":
        encoding = "utf-8"
    # A byte order mark is none but at the beginning.
    return data.decode("utf-8" if encoding == "utf-8-sig" and line > 1 else encoding).lstrip("\ufeff")


def _last_row_end(data: bytes) -> int:
    """The place behind the last line end that is not within quotation marks; 0 where there is none."""
    if b'"' not in data:
        return data.rfind(b"\n") + 1
    bytes_ = np.frombuffer(data, np.uint8)
    outside = ~np.logical_xor.accumulate(bytes_ == ord('"'))
    ends = np.flatnonzero(outside & (bytes_ == ord("\n")))
    return int(ends[-1]) + 1 if len(ends) else 0
