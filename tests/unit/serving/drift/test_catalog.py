"""What each column means: one table for `/drift`, the page and the guide."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from serving.contract import image_statistics
from serving.drift.catalog import MEANINGS, meaning_of, possible
from serving.drift.columns import COMPONENTS, PREDICTED
from serving.drift.data import NUMBERS, OPTIONAL_NUMBERS

DIRECTIONS = tuple(f"embedding_{number}" for number in range(1, COMPONENTS + 1))
NAMES = (*NUMBERS, *OPTIONAL_NUMBERS, *DIRECTIONS, PREDICTED)
ROOT = Path(__file__).parents[4]


def documented() -> dict[str, str]:
    """Column → its name for people, of the guide's table."""
    text = (ROOT / "docs/drift.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[a-z].*?) \| ([^|]+) \| [^|]+ \|$", text, re.MULTILINE)
    return {name: label.strip() for cell, label in rows for name in re.findall(r"`(\w+)`", cell)}


def test_every_column_has_a_name_and_an_explanation_of_its_own() -> None:
    assert set(MEANINGS) == set(NAMES) - set(DIRECTIONS)
    meanings = [meaning_of(name) for name in NAMES]
    assert len({meaning.label for meaning in meanings}) == len(NAMES)
    assert all(meaning.explanation.endswith(".") for meaning in meanings)
    # Names stand in lists, whose parts a comma divides.
    assert not [meaning.label for meaning in meanings if "," in meaning.label]


@pytest.mark.parametrize("name", NAMES)
def test_the_guide_has_the_same_name(name: str) -> None:
    number = name.removeprefix("embedding_")
    expected = meaning_of(name).label.replace(f"direction {number}", "direction 1 … 5")
    assert documented()["embedding_1" if name in DIRECTIONS else name] == expected


def test_a_column_that_this_release_does_not_know_keeps_its_name() -> None:
    assert meaning_of("head_pose").label == "Head pose"
    assert possible("head_pose") == {"min": None, "max": None}


def test_bounds_hold_for_the_extreme_pictures() -> None:
    half = np.zeros((8, 8, 3), np.uint8)
    half[:4] = 255
    pictures = (np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8), half)
    for name in ("brightness", "contrast", "sharpness"):
        values = [getattr(image_statistics(picture), name) for picture in pictures]
        bounds = possible(name)
        assert min(values) == bounds["min"], name
        assert bounds["max"] in (None, max(values)), name
