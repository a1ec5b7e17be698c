"""Faces of kept pictures as data need them, with a real detector on drawn faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flows.collect.crops import FaceCrops
from pipelines.core.params import PrepareParams, load_params
from serving.contract import Box, Image, decode
from serving.contract.faces import HaarDetector, largest_face
from serving.contract.preprocessing import crop_square
from serving.observations.labels import LabelledPicture
from tests.support.page_model import group, rows_of_faces


@pytest.fixture
def params(repository: Path) -> PrepareParams:
    """By default the data are used whole."""
    return load_params(repository / "params.yaml").prepare


@pytest.fixture
def by_face(params: PrepareParams) -> FaceCrops:
    return FaceCrops(params.model_copy(update={"crop": "face", "detector": "haar"}), margin=0.15)


def picture(face: int, box: Box | None) -> LabelledPicture:
    return LabelledPicture(id="0" * 32, picture="a.png", face=face, box=box, emotion="sad")


def opened(data: bytes) -> Image:
    return decode(data, max_pixels=10**7)


def centre(box: Box, *, within: Image, scale: float) -> tuple[float, float]:
    """Distance of a box's centre from the picture's, as a fraction of `scale`."""
    rows, columns = within.shape[:2]
    left, top, width, height = box
    return abs(left + width / 2 - columns / 2) / scale, abs(top + height / 2 - rows / 2) / scale


@pytest.mark.parametrize("face", [0, 2])
def test_of_data_that_are_used_whole_each_face_is_the_networks_crop(params: PrepareParams, face: int) -> None:
    image, box = opened(group()), (400, 60, 100, 100)
    cut = FaceCrops(params, margin=0.15).cut(image, picture(face, box))
    assert cut is not None
    assert (cut == crop_square(image, box, margin=0.15)).all()


@pytest.mark.parametrize("face", [0, 1])
def test_an_answer_to_the_whole_picture_stays_whole(
    by_face: FaceCrops, params: PrepareParams, face: int
) -> None:
    image = opened(group())
    assert by_face.cut(image, picture(face, None)) is image
    assert FaceCrops(params, margin=0.15).cut(image, picture(face, None)) is image


def test_prepare_finds_in_each_part_the_face_that_it_was_cut_out_for(by_face: FaceCrops) -> None:
    image, detector = opened(group((220, 170, 140))), HaarDetector()
    boxes = [face.box for face in detector.detect(image)]
    assert len(boxes) == 3
    assert by_face.cut(image, picture(0, boxes[0])) is image
    for index in (1, 2):
        part = by_face.cut(image, picture(index, boxes[index]))
        assert part is not None
        assert part is not image
        found = largest_face(detector, part)
        assert found is not None
        width = boxes[index][2]
        assert found[2] == pytest.approx(width, rel=0.25)
        assert max(centre(found, within=part, scale=width)) < 0.15


@pytest.mark.parametrize(("count", "side", "columns"), [(9, 120, 3), (24, 60, 6)])
def test_faces_that_stand_close_are_cut_out_each_for_itself(
    by_face: FaceCrops, count: int, side: int, columns: int
) -> None:
    image, detector = opened(rows_of_faces(count, columns=columns, side=side, gap=2)), HaarDetector()
    boxes = [face.box for face in detector.detect(image)]
    assert len(boxes) == count
    for index, box in enumerate(boxes[1:], 1):
        part = by_face.cut(image, picture(index, box))
        assert part is not None
        found = largest_face(detector, part)
        assert found is not None
        assert max(centre(found, within=part, scale=box[2])) < 0.3


def test_a_face_that_prepare_would_not_find_is_not_cut_out(by_face: FaceCrops) -> None:
    wall = np.full((300, 600, 3), 128, np.uint8)
    assert by_face.cut(wall, picture(1, (400, 100, 80, 80))) is None
    # Its own face is missing, a larger one is there.
    large = opened(group((220,)))
    assert by_face.cut(large, picture(1, (0, 0, 300, 300))) is None
