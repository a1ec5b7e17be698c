"""Attributes of drawn people that their painter knows, for metrics by group: `attributes.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

import numpy as np

from sample_faces.identity import SKIN_TONES, Identity

FILE = "attributes.csv"
COLUMNS = ("skin", "age", "glasses", "beard", "headwear")

_LUMA = np.array((0.299, 0.587, 0.114))
_THIRDS = ("light", "medium", "dark")
"""Of skin: the first three, the middle four, the last three tones of the palette."""
_AGES = ("young", "middle", "old")
"""Thirds of `Identity.age`: no lines to deep lines."""
_HEADWEAR = ("scarf", "beanie")


def attributes_of(person: Identity) -> dict[str, str]:
    """Describe a person by the values of `COLUMNS`."""
    luma = [float(_LUMA @ tone) for tone in SKIN_TONES]
    tone = int(np.abs(np.array(luma) - float(_LUMA @ person.skin)).argmin())
    return {
        "skin": _THIRDS[(tone >= 3) + (tone >= 7)],
        "age": _AGES[min(2, int(3 * person.age))],
        "glasses": "yes" if person.glasses else "no",
        "beard": "no" if person.beard in ("none", "stubble") else "yes",
        "headwear": "yes" if person.style in _HEADWEAR else "no",
    }


def attributes_table(people: Iterable[tuple[str, Identity]]) -> bytes:
    """The CSV file: a row for each group's name and person."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("group", *COLUMNS))
    for name, person in people:
        values = attributes_of(person)
        writer.writerow((name, *(values[column] for column in COLUMNS)))
    return text.getvalue().encode()
