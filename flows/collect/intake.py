"""Which of the kept pictures become data, and why the others do not."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import cv2

from flows.collect.crops import FaceCrops
from flows.collect.dataset import DatasetContents
from pipelines.prepare.hashing import pixel_sha256
from serving.contract import Image, ImageError, decode
from serving.libraries import MOST_ORIGINAL_PIXELS
from serving.observations.consensus import NOT_A_FACE
from serving.observations.images import PictureFolder
from serving.observations.labels import LabelledPicture

GONE = "the picture is no longer kept"
UNREADABLE = "the picture cannot be read"
LABEL = "the emotion is not a class of the data"
NO_FACE = "people agree that the picture shows no face"
NOT_FOUND = "prepare would not find the face, which is not the largest of its picture"
HELD_OUT = "the picture is in val or test"
KNOWN = "the picture is in the data"
TWICE = "the picture was sent more than once"
CONTRADICTED = "the picture was sent several times and has different emotions"


@dataclass(frozen=True, kw_only=True)
class AcceptedPicture:
    """A picture, or a face of one, that becomes data."""

    label: str
    name: str
    """File name: the answer's id, which no `group_pattern` matches as a known person; `ID-1` is its second
    face."""
    data: bytes
    sha256: str
    """SHA-256 of its pixels, by which `prepare` identifies pictures."""


@dataclass(frozen=True, kw_only=True)
class Intake:
    """Accepted pictures, and the number of refused ones by reason."""

    accepted: Sequence[AcceptedPicture]
    refused: Counter[str] = field(default_factory=Counter)
    """Reason → number of pictures."""


def select_pictures(
    labelled: Iterable[LabelledPicture],
    pictures: PictureFolder,
    contents: DatasetContents,
    crops: FaceCrops,
) -> Intake:
    """Accept or refuse each picture; each is read once, and refused ones are not kept in memory.

    Args:
        labelled: faces of pictures with known emotions, in the order in which they were sent.
        pictures: folder of the kept pictures.
        contents: of the data.
        crops: cuts the faces out.

    Raises:
        FaceDetectorError: `prepare`'s detector is needed and cannot be used here.
    """
    refused: Counter[str] = Counter()
    by_pixels: defaultdict[str, list[AcceptedPicture]] = defaultdict(list)
    for picture in labelled:
        result = _check(picture, pictures, contents, crops)
        if isinstance(result, str):
            refused[result] += 1
        else:
            by_pixels[result.sha256].append(result)
    accepted = []
    for copies in by_pixels.values():
        if len({copy.label for copy in copies}) > 1:
            refused[CONTRADICTED] += len(copies)
            continue
        accepted.append(copies[0])
        if len(copies) > 1:
            refused[TWICE] += len(copies) - 1
    return Intake(accepted=accepted, refused=refused)


def _check(
    picture: LabelledPicture, pictures: PictureFolder, contents: DatasetContents, crops: FaceCrops
) -> AcceptedPicture | str:
    """The accepted picture, or the reason to refuse it."""
    if picture.emotion == NOT_A_FACE:
        return NO_FACE
    if picture.emotion not in contents.classes:
        return LABEL
    try:
        data = pictures.read(picture.picture)
        image = decode(data, max_pixels=MOST_ORIGINAL_PIXELS)
    except FileNotFoundError:
        return GONE
    except (ImageError, OSError):
        return UNREADABLE
    suffix = PurePosixPath(picture.picture).suffix
    part = crops.cut(image, picture)
    if part is None:
        return NOT_FOUND
    if part is not image:
        data, suffix = _png(part), ".png"
    sha256 = pixel_sha256(part)
    if sha256 in contents.held_out:
        return HELD_OUT
    if sha256 in contents.others:
        return KNOWN
    face = f"-{picture.face}" if picture.face else ""
    return AcceptedPicture(
        label=picture.emotion, name=f"{picture.id}{face}{suffix}", data=data, sha256=sha256
    )


def _png(image: Image) -> bytes:
    done, encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not done:
        raise OSError("OpenCV cannot write a PNG file")
    return encoded.tobytes()
