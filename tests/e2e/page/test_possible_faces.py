"""What a visitor sees where a face may have been missed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.support.axe import barriers
from tests.support.browser import Visit
from tests.support.http_service import ready, serving, settings_in
from tests.support.pictures import encoded
from tests.support.yunet import LIGHT_PX, write_yunet_of_bright_cells


class Visiting(Protocol):
    def __call__(self, **options: Any) -> AbstractContextManager[Visit]: ...


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    """Of a service for which bright cells are faces, and less bright ones possible faces."""
    file = write_yunet_of_bright_cells(folder / "light.onnx")
    with serving(settings_in(folder, face_model=file, face_detector="yunet")) as client:
        ready(client)
        yield str(client.base_url)


def lights(*scores: float) -> bytes:
    """A dark picture of 10 × 8 cells with lights in its second row, two cells apart."""
    picture = np.zeros((8 * LIGHT_PX, 10 * LIGHT_PX, 3), np.uint8)
    for index, score in enumerate(scores):
        left = (1 + 2 * index) * LIGHT_PX
        picture[LIGHT_PX : 2 * LIGHT_PX, left : left + LIGHT_PX] = round(255 * score)
    return encoded(picture)


@pytest.mark.parametrize(
    ("scores", "faces", "possible"),
    [((1.0, 0.6), 1, 1), ((1.0, 0.6, 0.6), 1, 2), ((0.6,), 0, 1), ((1.0, 0.2), 1, 0)],
)
def test_a_place_that_may_be_a_face_has_a_dashed_box_and_a_sentence(
    visit: Visiting, scores: tuple[float, ...], faces: int, possible: int
) -> None:
    with visit() as visitor:
        page = visitor.open()
        visitor.send(lights(*scores))
        visitor.state("answered")
        expect(page.locator(".answer")).to_have_count(1)
        expect(page.locator(".side").get_by_text("No face was found")).to_have_count(1 - faces)
        places = page.locator(".possible-faces i")
        expect(places).to_have_count(possible)
        said = page.locator(".side").get_by_text("may have been missed")
        expect(said).to_have_count(1 if possible else 0)
        if possible:
            frame, place = page.locator(".frame").bounding_box(), places.last.bounding_box()
            assert frame is not None
            assert place is not None
            # The middle of a box is a corner of a light (tests/unit/serving/contract/test_faces.py).
            middle = (place["x"] + place["width"] / 2 - frame["x"]) / frame["width"]
            assert min(abs(middle - (1 + 2 * index) / 10) for index in range(len(scores))) < 0.01
            expect(page.locator("#announcer")).to_contain_text("may have been missed")
            assert barriers(page) == []
