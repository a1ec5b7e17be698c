"""Labels of faces on a drawn picture: text, place and the page's colours."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from serving.contract import Box, Image

HUES = MappingProxyType(
    {
        "red": "#b0382c", "olive": "#6a7518", "violet": "#6f50ab", "amber": "#a96c00", "slate": "#5f6a73",
        "blue": "#2b6cab", "teal": "#0b7d83", "pink": "#a5467f", "brown": "#85552f", "green": "#2f7a3b",
    }
)  # fmt: skip
"""The page's colours by day, css/base.css."""
KNOWN = MappingProxyType(
    {
        "angry": "red", "anger": "red", "disgust": "olive", "fear": "violet", "happy": "amber",
        "happiness": "amber", "joy": "amber", "neutral": "slate", "sad": "blue", "sadness": "blue",
        "surprise": "teal", "contempt": "pink",
    }
)  # fmt: skip
"""Colour of an emotion, as in the page's hues.js."""
OTHERS = ("teal", "amber", "violet", "red", "blue", "olive", "pink", "slate", "brown", "green")
"""Colours of classes with other names, by their place."""
_CARD, _INK = "#fffefc", "#1b2126"
# OpenCV's own fonts (Hershey, 1967) know ASCII only; the strokes of this one stay apart when it is small.
_FONT = cv2.FONT_HERSHEY_DUPLEX
# Height of a capital at scale 1, px; 11 px are legible, as is 1/90 of a picture that is shown smaller.
_CAPITAL_PX, _LEAST_CAPITAL_PX, _CAPITALS_PER_SIDE = 22, 11, 90
_LONGEST = 24
# As in the page's labels.js, where the reasons are.
_GAP_PX, _STEPS, _ON_ANOTHER, _WIDEST = 4, 8, 4.0, 1.3
# Two labels are at least 2 px apart: left, top, width and height of one are wider by as much.
_APART = np.array([-2.0, -2.0, 4.0, 4.0])

Places = NDArray[np.float64]
"""[n, 4]: left, top, width, height, px."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """Texts of one face's label."""

    forms: tuple[str, ...]
    """The most detailed first; the last one is the shortest."""
    color: str
    """#rrggbb, of the emotion."""


def texts_of(answers: Sequence[tuple[str | None, float]], classes: Sequence[str]) -> list[Text]:
    """Label each answer (emotion, None when unsure, and probability); several are numbered."""
    return [
        text_of(str(index + 1) if len(answers) > 1 else "", *answer, classes)
        for index, answer in enumerate(answers)
    ]


def text_of(number: str, emotion: str | None, probability: float, classes: Sequence[str]) -> Text:
    """Label one answer.

    Args:
        number: what stands before it; empty for nothing.
        emotion: the emotion; None when unsure.
        probability: of the emotion, in [0, 1].
        classes: of the model, in its order.
    """
    name = "unsure" if emotion is None else _drawable(emotion, classes)
    forms = (f"{name} {_percent(probability)}", name, "")
    return Text(
        forms=tuple(text for form in forms if (text := f"{number} {form}".strip())),
        color=HUES["slate" if emotion is None else hue_of(emotion, classes)],
    )


def hue_of(name: str, classes: Sequence[str]) -> str:
    """Name of a class's colour, as the page chooses it."""
    if all(each.lower() in KNOWN for each in classes):
        return KNOWN[name.lower()]
    return OTHERS[list(classes).index(name) % len(OTHERS)]


def _drawable(name: str, classes: Sequence[str]) -> str:
    """A class's name in ASCII: without accents; where that is not enough, its place among the classes."""
    plain = "".join(each for each in unicodedata.normalize("NFKD", name) if not unicodedata.combining(each))
    if not plain.isascii() or not plain.isprintable():
        return f"class {list(classes).index(name) + 1}"
    return plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST - 3]}..."


def _percent(share: float) -> str:
    """As the page writes it: nearly sure is not sure."""
    return ">99 %" if share < 1 and round(100 * share) == 100 else f"{round(100 * share)} %"


def draw_labels(drawn: Image, boxes: Sequence[Box], texts: Sequence[Text], *, longer_px: int) -> None:
    """Draw a label for each box, none on another one or beyond the picture; without room it is left out.

    Args:
        drawn: uint8 [height, width, 3], BGR; changed.
        boxes: of the faces, px.
        texts: of each.
        longer_px: side of the picture that the size of the letters follows.
    """
    capital = max(_LEAST_CAPITAL_PX, longer_px / _CAPITALS_PER_SIDE)
    sizes = [[_size(form, capital) for form in text.forms] for text in texts]
    stage = drawn.shape[1], drawn.shape[0]
    for text, placed in zip(texts, _placed(np.array(boxes, np.float64), sizes, stage), strict=True):
        if placed is not None:
            form, place = placed
            _draw(drawn, text.forms[form], text.color, place, capital)


def _size(text: str, capital: float) -> tuple[int, int]:
    """Width and height of a label, px."""
    (width, _), _ = cv2.getTextSize(text, _FONT, capital / _CAPITAL_PX, 1)
    return round(width + 3.1 * capital), round(2.1 * capital)


def _draw(drawn: Image, text: str, color: str, place: NDArray[np.float64], capital: float) -> None:
    left, top, width, height = (int(value) for value in place)
    cv2.rectangle(drawn, (left, top), (left + width - 1, top + height - 1), _bgr(_CARD), -1)
    pad, dot = round(0.6 * capital), round(0.9 * capital)
    corner = left + pad, top + (height - dot) // 2
    cv2.rectangle(drawn, corner, (corner[0] + dot - 1, corner[1] + dot - 1), _bgr(color), -1)
    base = left + round(2.2 * capital), top + round((height + capital) / 2)
    cv2.putText(drawn, text, base, _FONT, capital / _CAPITAL_PX, _bgr(_INK), 1, cv2.LINE_AA)


def _placed(
    boxes: Places, sizes: Sequence[Sequence[tuple[int, int]]], stage: tuple[int, int]
) -> list[tuple[int, NDArray[np.float64]] | None]:
    """Form and place of each label; the shortest forms are placed first, then longer ones where they fit."""
    placed: list[tuple[int, NDArray[np.float64]] | None] = [None] * len(boxes)
    for longer in (False, True):
        for index, forms in enumerate(sizes):
            tried = range(len(forms) - 1) if longer else (len(forms) - 1,)
            for form in tried:
                if longer and len(boxes) > 1 and index and forms[form][0] > _WIDEST * boxes[index][2]:
                    continue
                taken = [other[1] for at, other in enumerate(placed) if other and at != index]
                place = _best(boxes, index, forms[form], taken, stage)
                if place is not None:
                    placed[index] = form, place
                    break
    return placed


def _best(
    boxes: Places, index: int, size: tuple[int, int], taken: list[NDArray[np.float64]], stage: tuple[int, int]
) -> NDArray[np.float64] | None:
    places, rank = _places(boxes[index], size)
    free = (places[:, :2] >= 0).all(axis=1) & (places[:, :2] + places[:, 2:] <= stage).all(axis=1)
    if taken:
        free &= _shared(places + _APART, np.array(taken)).max(axis=1) == 0
    if not free.any():
        return None
    weights = np.full(len(boxes), _ON_ANOTHER)
    weights[index] = 1.0
    cost = _shared(places, boxes) @ weights + rank
    return np.asarray(places[np.where(free, cost, np.inf).argmin()])


def _places(box: NDArray[np.float64], size: tuple[int, int]) -> tuple[Places, NDArray[np.float64]]:
    """Places of a label at a box: above, below, inside at top and bottom, right, left; and their ranks."""
    left, top, width, height = box
    along = np.arange(_STEPS + 1) / _STEPS
    lefts, tops = left + along * (width - size[0]), top + along * (height - size[1])
    rows = (top - size[1] - _GAP_PX, top + height + _GAP_PX, top + _GAP_PX, top + height - size[1] - _GAP_PX)
    sides = (left + width + _GAP_PX, left - size[0] - _GAP_PX)
    corners = [np.stack([lefts, np.full_like(lefts, row)], axis=1) for row in rows]
    corners += [np.stack([np.full_like(tops, side), tops], axis=1) for side in sides]
    ranks = [10.0 * row + np.arange(_STEPS + 1) for row in range(len(corners))]
    found = np.rint(np.concatenate(corners))
    return np.hstack([found, np.tile(np.array(size, np.float64), (len(found), 1))]), np.concatenate(ranks)


def _shared(places: Places, others: Places) -> NDArray[np.float64]:
    """Area, px², that each place shares with each of the others, [places, others]."""
    starts = np.maximum(places[:, None, :2], others[None, :, :2])
    ends = np.minimum(places[:, None, :2] + places[:, None, 2:], others[None, :, :2] + others[None, :, 2:])
    return np.asarray(np.clip(ends - starts, 0, None).prod(axis=2))


def _bgr(color: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(color[1:])
    return blue, green, red
