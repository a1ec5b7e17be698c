"""FER2013's CSV file and files of its form: a label, pixels as text and a split in every row.

Rows are found by their offset, so that one picture is read without the rest of the file. The text is
UTF-8 with or without a byte-order mark; columns are separated by comma, semicolon, tab or bar; quoted
cells may hold line breaks.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pipelines.core.errors import DataError
from serving.contract import ImageUndecodable

NAME = "fer2013.csv"
# Goodfellow et al., 2013, "Challenges in Representation Learning": the file's own order.
LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")

_LABEL, _PIXELS = "emotion", "pixels"
_SPLIT_COLUMNS = ("usage", "split", "subset", "partition", "set")
"""Names of the column that says the split; `Usage` is FER2013's own."""
_SEPARATORS = (b",", b";", b"\t", b"|")
_QUOTE = b'"'
_HEAD_BYTES = 4096
_WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
_ARCHIVES = {b"PK\x03\x04": "a ZIP archive", b"\x1f\x8b": "a gzip archive"}
# Lists that pandas or NumPy wrote: `[70, 80, 82]`.
_TO_SPACES = str.maketrans(dict.fromkeys("[](),;", " "))
_OF_NUMBERS = b"0123456789 \t\r\n"
_BRIGHTEST = 255
_EXPECTED = "emotion,pixels,Usage"


@dataclass(frozen=True, slots=True)
class Row:
    """What a row says of its picture."""

    number: int
    """0 is the first row below the names of the columns."""
    label: str
    split: str
    """As it is written; empty where the file does not say."""


def rows_of(table: Path) -> Iterator[Row]:
    """Every row that is not blank.

    Raises:
        DataError: the file is not such a table, or a row has no known label.
    """
    layout = _index(table).layout
    with table.open("rb") as file:
        _next_record(file)
        for number, record in enumerate(_records(file, table)):
            if not record.strip():
                continue
            cells = layout.cells(record)
            if any(cell.strip() for cell in cells[layout.width :]):
                raise DataError(
                    f"{table}: row {number} has {len(cells)} cells, expected {layout.width}; "
                    "put quotes around cells that contain the separator"
                )
            yield Row(
                number,
                _label(layout.cell(cells, layout.label), table, number),
                layout.cell(cells, layout.split),
            )


def read_pixels(table: Path, number: int) -> tuple[NDArray[np.uint8], int]:
    """The picture of one row, uint8 [side, side], and the size of its text in bytes.

    Raises:
        ImageUndecodable: the row is gone, or its pixels are not a square of numbers from 0 to 255.
        OSError: the file cannot be read.
    """
    index = _index(table)
    if number >= len(index.offsets):
        raise ImageUndecodable(format="CSV", reason=f"the table has {len(index.offsets)} rows")
    with table.open("rb") as file:
        file.seek(index.offsets[number])
        cells = index.layout.cells(_next_record(file))
    text = index.layout.cell(cells, index.layout.pixels)
    numbers = text.translate(_TO_SPACES).encode().strip()
    # NumPy reads text four times as fast as `split` and `int` do, but stops at another character, silently.
    readable = numbers and not numbers.translate(None, _OF_NUMBERS)
    values = np.fromstring(numbers, np.int64, sep=" ") if readable else np.empty(0, np.int64)
    if (numbers and not readable) or values.max(initial=0) > _BRIGHTEST:
        raise ImageUndecodable(format="CSV", reason="a pixel is not a number from 0 to 255")
    side = round(values.size**0.5)
    if side == 0 or side * side != values.size:
        raise ImageUndecodable(format="CSV", reason=f"{values.size} pixels are not a square")
    return values.astype(np.uint8).reshape(side, side), len(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """How a table's rows are divided, and which cell is what."""

    separator: bytes
    width: int
    """Number of columns."""
    label: int
    pixels: int
    split: int | None

    def cells(self, record: bytes) -> list[bytes]:
        return _divided(record, self.separator)

    def cell(self, cells: list[bytes], column: int | None) -> str:
        if column is None or column >= len(cells):
            return ""
        return cells[column].decode("utf-8", errors="replace").strip()


@dataclass(frozen=True, slots=True)
class _Index:
    layout: _Layout
    offsets: list[int]
    """Byte at which each row begins."""


def _index(table: Path) -> _Index:
    status = table.stat()
    return _build_index(table, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=2)
def _build_index(table: Path, size: int, mtime_ns: int) -> _Index:
    """Where each row begins; cached for as long as the file stays the same."""
    with table.open("rb") as file:
        _check_text(table, file.read(_HEAD_BYTES))
        file.seek(0)
        layout = _layout(table, _next_record(file))
        offsets, position = [], file.tell()
        for record in _records(file, table):
            offsets.append(position)
            position += len(record)
    return _Index(layout=layout, offsets=offsets)


def _check_text(table: Path, head: bytes) -> None:
    for magic, kind in _ARCHIVES.items():
        if head.startswith(magic):
            raise DataError(f"{table}: is {kind}, expected text; unpack it")
    if head.startswith(_WIDE_MARKS) or b"\0" in head:
        raise DataError(
            f"{table}: is UTF-16 or not text at all, expected UTF-8; convert it, as with "
            f"`iconv -f UTF-16 -t UTF-8 {table.name} > utf8.csv && mv utf8.csv {table.name}`"
        )


def _layout(table: Path, header: bytes) -> _Layout:
    header = header.removeprefix(codecs.BOM_UTF8)
    widest: list[str] = []
    for separator in _SEPARATORS:
        names = [
            cell.decode("utf-8", errors="replace").strip().lower() for cell in _divided(header, separator)
        ]
        if {_LABEL, _PIXELS} <= set(names):
            return _Layout(
                separator=separator,
                width=len(names),
                label=names.index(_LABEL),
                pixels=names.index(_PIXELS),
                split=_split_column(table, names),
            )
        widest = max(widest, names, key=len)
    raise DataError(
        f"{table}: its columns are {', '.join(widest)[:80]!r}, expected {_EXPECTED}; use FER2013's own file"
    )


def _split_column(table: Path, names: list[str]) -> int | None:
    found = [name for name in _SPLIT_COLUMNS if name in names]
    if len(found) > 1:
        raise DataError(
            f"{table}: has the columns {' and '.join(found)}, expected one that says the split; "
            "remove the others"
        )
    return names.index(found[0]) if found else None


def _label(text: str, table: Path, number: int) -> str:
    # By comparison: int() takes other digits than these ten and refuses `²`, which isdigit() takes.
    known = dict(zip(map(str, range(len(LABELS))), LABELS, strict=True))
    label = known.get(text.lstrip("0") or text[:1])
    if label is None:
        raise DataError(
            f"{table}: row {number} has the emotion {text[:40]!r}, expected 0 to {len(LABELS) - 1}; "
            "correct or remove the row"
        )
    return label


def _records(file: BinaryIO, table: Path) -> Iterator[bytes]:
    number = 0
    while record := _next_record(file):
        if record.count(_QUOTE) % 2:
            raise DataError(
                f"{table}: row {number} opens a quote that is never closed, expected pairs of quotes; "
                "close or remove it"
            )
        yield record
        number += 1


def _next_record(file: BinaryIO) -> bytes:
    """The next line, with the lines after it for as long as a quote is open; empty at the end of the file."""
    line = file.readline()
    if line.count(_QUOTE) % 2 == 0:
        return line
    lines = [line]
    while line := file.readline():
        lines.append(line)
        if line.count(_QUOTE) % 2:
            break
    return b"".join(lines)


def _divided(record: bytes, separator: bytes) -> list[bytes]:
    """The cells of a row; a separator between quotes does not divide."""
    if _QUOTE not in record:
        return record.split(separator)
    cells = [b""]
    for index, piece in enumerate(record.split(_QUOTE)):
        first, *others = [piece] if index % 2 else piece.split(separator)
        cells[-1] += first
        cells += others
    return cells
