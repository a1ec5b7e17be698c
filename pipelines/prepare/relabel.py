"""Labels that a person corrected: `data/relabel.csv`.

    file,label
    happy/a.jpg,sad          the picture counts as sad
    happy/b.jpg,             the picture is left out

`file` is a path relative to `data/`, or `fer2013.csv#12` for row 12 of that file. Other columns, such as
those that `python -m pipelines.labels` writes, are not read. The pictures themselves stay where they are.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipelines.core.errors import DataError
from pipelines.core.paths import RELABEL
from pipelines.core.source_images import Source
from serving.contract.model import class_name_problem

_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Relabelled:
    """Pictures with the labels that count."""

    sources: tuple[Source, ...]
    changed: int
    """Pictures whose label is another one now."""
    left_out: tuple[Source, ...]
    """Pictures that a person left out."""


def relabel(sources: Sequence[Source], data: Path, *, root: Path) -> Relabelled:
    """Apply the corrections of a data folder; without a file nothing changes.

    Args:
        sources: pictures as their folders label them.
        data: folder of originals.
        root: folder that locators are relative to.

    Raises:
        DataError: the file cannot be read, or a row of it cannot be used.
    """
    path = data / RELABEL.name
    if not path.exists():
        return Relabelled(sources=tuple(sources), changed=0, left_out=())
    place = data.relative_to(root).as_posix()
    labels = {f"{place}/{file}": label for file, label in _read(path).items()}
    unknown = sorted(set(labels) - {source.locator for source in sources})
    if unknown:
        more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
        raise DataError(
            f"{path} names {', '.join(unknown[:_NAMED])}{more}, expected pictures of {place}/; "
            "correct or remove these rows"
        )
    kept, left_out, changed = [], [], 0
    for source in sources:
        label = labels.get(source.locator, source.label)
        if not label:
            left_out.append(source)
            continue
        changed += label != source.label
        kept.append(replace(source, label=label))
    return Relabelled(sources=tuple(kept), changed=changed, left_out=tuple(left_out))


def _read(path: Path) -> Mapping[str, str]:
    """The new label of each file; empty for a picture that is left out."""
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: {error}, expected a CSV file in UTF-8; write it again") from error
    labels: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):
        if row.get("file") is None or row.get("label") is None:
            raise DataError(
                f"{path}: line {number} has no value for file or label, expected the columns file and label; "
                "correct it"
            )
        file, label = row["file"].strip(), row["label"].strip()
        if file in labels:
            raise DataError(f"{path}: line {number} names {file} again, expected each file once; remove one")
        problem = class_name_problem(label) if label else None
        if problem is not None:
            raise DataError(f"{path}: line {number}: {label!r} cannot be a class: {problem}; correct it")
        labels[file] = label
    return labels
