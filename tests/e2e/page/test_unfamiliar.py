"""What a visitor sees of a picture unlike those of the training, with and without a face that is found."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
from playwright.sync_api import expect

from serving.contract import NoveltyOutput
from tests.support.browser import Visit
from tests.support.onnx_models import make_contract
from tests.support.pictures import drawn_face, encoded
from tests.support.serving_models import model_folder


class Visiting(Protocol):
    def __call__(self, **options: Any) -> AbstractContextManager[Visit]: ...


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a service whose model calls bright pictures unfamiliar: its novelty is the brightness."""
    folder = tmp_path_factory.mktemp("unfamiliar")
    contract = replace(make_contract(), novelty=NoveltyOutput(threshold=0.5))
    model_folder(folder / "model", contract=contract)
    return folder


def wall(level: int) -> bytes:
    return encoded(np.full((120, 120, 3), level, np.uint8))


@pytest.mark.parametrize(
    ("picture", "unfamiliar"),
    [(wall(240), True), (wall(20), False), (encoded(drawn_face(200)), True)],
    ids=["bright wall", "dark wall", "bright face"],
)
def test_an_unfamiliar_picture_s_answer_is_muted_and_says_why(
    visit: Visiting, picture: bytes, unfamiliar: bool
) -> None:
    with visit() as visitor:
        page = visitor.open()
        visitor.send(picture)
        visitor.state("answered")
        count = 1 if unfamiliar else 0
        expect(page.locator(".answer")).to_have_count(1)
        expect(page.locator(".answer.unfamiliar")).to_have_count(count)
        expect(page.get_by_text("unlike those the model learned from")).to_have_count(count)
