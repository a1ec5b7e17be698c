"""The sheet of probable label errors: every picture whole, in order, below a caption of its own."""

from __future__ import annotations

import colorsys
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.labels.sheet import Suspect, write_sheet
from tests.support.pictures import write_picture

DARK = 140
"""Of the captions' ink, 0–255."""
CAPTION_PX = 40
"""Height of two lines of 8 points at 110 dots per inch, with their distance from the picture."""


def colors(count: int) -> NDArray[np.uint8]:
    """Colours that neither paper nor ink have, [count, 3]."""
    return np.array(
        [[round(255 * part) for part in colorsys.hsv_to_rgb(i / count, 1, 1)] for i in range(count)], np.uint8
    )


def sheet_of(root: Path, count: int, label: str, *, size: tuple[int, int] = (60, 60)) -> NDArray[np.uint8]:
    """A sheet of flat pictures; uint8 [height, width, 3] RGB."""
    suspects = []
    for index, color in enumerate(colors(count)):
        write_picture(root / "data" / f"{index}.png", np.full((*size, 3), color, np.uint8))
        suspects.append(
            Suspect(locator=f"data/{index}.png", given=label, suggested=label, probability=1 - index / 100)
        )
    write_sheet(root / "sheet.png", suspects, root=root)
    sheet = cv2.imread(str(root / "sheet.png"))
    assert sheet is not None
    return np.asarray(sheet[..., ::-1], np.uint8)


def places(sheet: NDArray[np.uint8], count: int) -> list[tuple[int, int, int, int]]:
    """Left, top, width and height of each picture, px."""
    found = []
    for color in colors(count):
        rows, columns = np.nonzero((np.abs(sheet.astype(int) - color) < 8).all(-1))
        assert len(rows), "the picture is missing"
        left, top = int(columns.min()), int(rows.min())
        width, height = int(columns.max()) - left + 1, int(rows.max()) - top + 1
        assert len(rows) == pytest.approx(width * height, rel=0.05), "the picture is covered or torn"
        found.append((left, top, width, height))
    return found


@pytest.mark.parametrize("count", [1, 3, 8, 11])
def test_pictures_are_whole_equal_and_in_order(tmp_path: Path, count: int) -> None:
    found = places(sheet_of(tmp_path, count, "happy"), count)
    assert len({left for left, *_ in found}) == min(8, count)
    assert len({top for _, top, *_ in found}) == -(-count // 8)
    assert [(top, left) for left, top, *_ in found] == sorted((top, left) for left, top, *_ in found)
    assert np.ptp([side for *_, width, height in found for side in (width, height)]) <= 2


def test_pictures_keep_their_shape(tmp_path: Path) -> None:
    for _, _, width, height in places(sheet_of(tmp_path, 3, "sad", size=(40, 80)), 3):
        assert width / height == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize("label", ["sad", "disappointment", "not very happy but content"])
def test_a_caption_stays_above_its_picture(tmp_path: Path, label: str) -> None:
    sheet = sheet_of(tmp_path, 11, label)
    ink = np.asarray((sheet < DARK).all(-1))
    found = places(sheet, 11)
    assert not ink[0].any()
    assert not ink[-1].any()
    assert not ink[:, -3:].any(), "the last caption is cut off"
    for left, top, width, _ in found:
        caption = ink[top - CAPTION_PX : top]
        assert caption[:, left : left + width].any()
        assert not caption[:, left + width + 4 : left + width + 10].any(), "it reaches the next one"
