"""Attributes of people or pictures that the user brings: `data/attributes.csv`.

    group,skin,glasses          file,light
    id0000,dark,yes             happy/a.jpg,indoors
    id0001,light,               happy/b.jpg,outdoors

The first column says what a row is about: `file`, a path relative to `data/`, or `group`, as
`prepare.group_pattern` finds it. All other columns are the user's; an empty cell means unknown. Attributes
are given by people, never inferred from pictures.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from pipelines.core.errors import DataError

MAX_VALUES = 20
"""Different values of one attribute; a column with more has names or numbers, not groups."""

Key = Literal["file", "group"]


@dataclass(frozen=True, kw_only=True)
class Attributes:
    """What `data/attributes.csv` says."""

    key: Key
    columns: tuple[str, ...]
    """Names of the attributes."""
    rows: Mapping[str, Sequence[str]]
    """Values in the order of `columns`, by file or group; empty where unknown."""

    def of(self, column: str, *, files: Sequence[str], groups: Sequence[str]) -> list[str]:
        """Values of one attribute for n pictures, empty where it is unknown.

        Args:
            column: one of `columns`.
            files: locators, `data/…`, of the pictures.
            groups: their groups.
        """
        index = self.columns.index(column)
        keys = groups if self.key == "group" else [name.partition("/")[2] for name in files]
        return [self.rows[key][index] if key in self.rows else "" for key in keys]


def read_attributes(path: Path) -> Attributes | None:
    """Read the file; None without one.

    Raises:
        DataError: the file cannot be read, or a row or column of it cannot be used.
    """
    if not path.exists():
        return None
    try:
        lines = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: {error}, expected a CSV file in UTF-8; write it again") from error
    header = [name.strip() for name in lines[0]] if lines else []
    _check_header(path, header)
    rows: dict[str, list[str]] = {}
    for number, line in enumerate(lines[1:], start=2):
        if not line:
            continue
        if len(line) != len(header):
            raise DataError(
                f"{path}: line {number} has {len(line)} values, expected {len(header)}, one for each column; "
                "correct it"
            )
        key, *values = (value.strip() for value in line)
        if key in rows:
            raise DataError(f"{path}: line {number} names {key!r} again, expected one row each; remove one")
        rows[key] = values
    columns = tuple(header[1:])
    for index, column in enumerate(columns):
        count = len({values[index] for values in rows.values()} - {""})
        if count > MAX_VALUES:
            raise DataError(
                f"{path}: the column {column!r} has {count} different values, expected at most {MAX_VALUES} "
                "groups of people or pictures; join values or remove the column"
            )
    return Attributes(key=cast("Key", header[0]), columns=columns, rows=rows)


def _check_header(path: Path, header: Sequence[str]) -> None:
    if not header or header[0] not in get_args(Key):
        got = repr(header[0]) if header else "no line"
        raise DataError(f"{path}: the first column is {got}, expected 'file' or 'group'; rename it")
    names = header[1:]
    if not names or "" in names or len(set(names)) != len(names):
        raise DataError(
            f"{path}: the columns are {', '.join(map(repr, header))}, expected different names of attributes "
            "after the first; correct the first line"
        )
