"""Which of the kept pictures become data, and why the others do not."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import cv2

from flows.collect.dataset import DatasetContents
from pipelines.prepare.hashing import pixel_sha256
from serving.contract import Image, ImageError, decode
from serving.contract.preprocessing import crop_square
from serving.libraries import MOST_ORIGINAL_PIXELS
from serving.observations.images import PictureFolder
from serving.observations.store import LabelledPicture

GONE = "the picture is no longer kept"
UNREADABLE = "the picture cannot be read"
LABEL = "the emotion that was told is no class of the data"
HELD_OUT = "the picture is in val or test"
KNOWN = "the picture is in the data"
TWICE = "the picture came more than once"
CONTRADICTED = "the picture came with several emotions, so none can be trusted"


@dataclass(frozen=True, kw_only=True)
class AcceptedPicture:
    """A picture that becomes data."""

    label: str
    name: str
    """Of its file: the answer's id, which no `group_pattern` takes for a known person."""
    data: bytes
    sha256: str
    """Of its pixels, as `prepare` identifies pictures."""


@dataclass(frozen=True, kw_only=True)
class Intake:
    """What came in."""

    taken: Sequence[AcceptedPicture]
    refused: Counter[str] = field(default_factory=Counter)
    """Reason → pictures."""


def select_pictures(
    told: Iterable[LabelledPicture], pictures: PictureFolder, held: DatasetContents, *, margin: float | None
) -> Intake:
    """Judge every picture; each is read once and none is kept in memory that is refused.

    Args:
        told: in the order in which they came.
        pictures: where they are kept.
        held: what the data hold.
        margin: around the face that was looked at, which is cut out; None keeps pictures whole, for data
            whose faces `prepare` finds itself.
    """
    refused: Counter[str] = Counter()
    by_pixels: defaultdict[str, list[AcceptedPicture]] = defaultdict(list)
    for one in told:
        found = _judged(one, pictures, held, margin=margin)
        if isinstance(found, str):
            refused[found] += 1
        else:
            by_pixels[found.sha256].append(found)
    taken = []
    for same in by_pixels.values():
        if len({one.label for one in same}) > 1:
            refused[CONTRADICTED] += len(same)
            continue
        taken.append(same[0])
        if len(same) > 1:
            refused[TWICE] += len(same) - 1
    return Intake(taken=taken, refused=refused)


def _judged(
    one: LabelledPicture, pictures: PictureFolder, held: DatasetContents, *, margin: float | None
) -> AcceptedPicture | str:
    """What becomes of one picture: itself, or the reason against it."""
    if one.emotion not in held.classes:
        return LABEL
    try:
        data = pictures.read(one.picture)
        image = decode(data, max_pixels=MOST_ORIGINAL_PIXELS)
    except FileNotFoundError:
        return GONE
    except (ImageError, OSError):
        return UNREADABLE
    suffix = PurePosixPath(one.picture).suffix
    if margin is not None and one.box is not None:
        image = crop_square(image, one.box, margin=margin)
        data, suffix = _png(image), ".png"
    sha256 = pixel_sha256(image)
    if sha256 in held.held_out:
        return HELD_OUT
    if sha256 in held.others:
        return KNOWN
    return AcceptedPicture(label=one.emotion, name=f"{one.id}{suffix}", data=data, sha256=sha256)


def _png(image: Image) -> bytes:
    done, encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not done:
        raise OSError("OpenCV cannot write a PNG file")
    return encoded.tobytes()
