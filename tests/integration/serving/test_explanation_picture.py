"""What POST /explain draws with `Accept: image/png`: heat, boxes and labels, compared region by region."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from tests.support.http_service import picture_of, ready, serving, settings_in
from tests.support.onnx_models import CLASSES, make_contract
from tests.support.page_model import group, rows_of_faces
from tests.support.pictures import Pixels, drawn_face, encoded, pillow_rgb
from tests.support.serving_models import model_folder

PAGE = Path(__file__).resolve().parents[3] / "serving" / "page"
CARD = (255, 254, 252)
"""Background of a label, css/base.css."""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("service")
    model_folder(folder / "model")
    with serving(settings_in(folder)) as client:
        yield ready(client)


def drawn(client: httpx.Client, data: bytes, query: str = "") -> Pixels:
    answer = client.post(f"/explain{query}", content=data, headers={"accept": "image/png"})
    assert answer.status_code == 200, answer.text
    return pillow_rgb(answer.content)


def explained(client: httpx.Client, data: bytes, query: str = "") -> dict[str, Any]:
    answer: dict[str, Any] = client.post(f"/explain{query}", content=data).json()
    return answer


def labels(picture: Pixels) -> list[tuple[int, int, int, int]]:
    """Left, top, width and height of each label: a field of the card's colour, with letters in it."""
    mask = (picture == CARD).all(axis=2).astype(np.uint8)
    found = cv2.connectedComponentsWithStats(mask)[2][1:]
    return [(left, top, width, height) for left, top, width, height, area in found.tolist() if area > 200]


def cut(picture: Pixels, place: tuple[int, int, int, int]) -> Pixels:
    left, top, width, height = place
    return picture[top : top + height, left : left + width]


def color_of(emotion: str) -> tuple[int, ...]:
    """The page's colour of an emotion by day, out of the page's own files."""
    hue = re.search(rf"^  {emotion}: \"(\w+)\"", (PAGE / "js/colours.js").read_text(), re.MULTILINE)
    assert hue
    color = re.search(rf"--{hue[1]}: #(\w{{6}});", (PAGE / "css/base.css").read_text())
    assert color
    return tuple(bytes.fromhex(color[1]))


def share_of(picture: Pixels, color: tuple[int, ...]) -> float:
    return float((picture == color).all(axis=2).mean())


@pytest.mark.parametrize("index", range(len(CLASSES)))
def test_a_label_has_the_pages_colour_of_its_emotion_and_of_no_other(
    client: httpx.Client, index: int
) -> None:
    picture = drawn(client, picture_of(index))
    [place] = labels(picture)
    found = [name for name in CLASSES if share_of(cut(picture, place), color_of(name)) > 0.01]
    assert found == [CLASSES[index]]


def test_the_face_has_a_box_where_the_answer_says(client: httpx.Client) -> None:
    data = encoded(drawn_face(200))
    box = explained(client, data)["faces"][0]["box"]
    picture = drawn(client, data)
    scale = picture.shape[1] / 200
    for x in (box["left"], box["left"] + box["width"]):
        for y in (box["top"], box["top"] + box["height"]):
            column, row = round(x * scale), round(y * scale)
            near = picture[max(0, row - 3) : row + 3, max(0, column - 3) : column + 3]
            assert (near == 255).all(axis=2).any(), (x, y)
            assert (near == 0).all(axis=2).any(), (x, y)


def test_a_label_says_emotion_and_probability(client: httpx.Client) -> None:
    """One emotion at two probabilities, and below a bound none: three labels that differ in their letters."""
    sure, less = picture_of(3), encoded(np.full((32, 32, 3), round(255 * 0.5) + 9, np.uint8))
    answers = [explained(client, data) for data in (sure, less)]
    assert answers[0]["emotion"] == answers[1]["emotion"]
    assert round(answers[0]["probability"], 2) != round(answers[1]["probability"], 2)
    pictures = [drawn(client, sure), drawn(client, less), drawn(client, sure, "?min_probability=1")]
    shown = [cut(picture, labels(picture)[0]) for picture in pictures]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        same = shown[one].shape == shown[other].shape and (shown[one] == shown[other]).all()
        assert not same


def test_of_several_faces_each_has_a_label_of_its_own(client: httpx.Client) -> None:
    data = group()
    assert len(explained(client, data)["faces"]) == 3
    assert len(labels(drawn(client, data))) == 3


@pytest.mark.parametrize(("count", "columns", "side"), [(9, 3, 120), (24, 6, 60)])
def test_many_labels_keep_apart(client: httpx.Client, count: int, columns: int, side: int) -> None:
    data = rows_of_faces(count, columns=columns, side=side)
    faces = explained(client, data)["faces"]
    places = labels(drawn(client, data))
    assert len(faces) == count
    # Two that touched would be one field.
    assert len(places) == count


def test_a_small_picture_is_enlarged_until_its_label_can_be_read(client: httpx.Client) -> None:
    picture = drawn(client, picture_of(1, side=48))
    assert picture.shape[:2] == (384, 384)
    [(_, _, width, height)] = labels(picture)
    assert height >= 20
    assert width >= 80


def test_where_nothing_counted_the_picture_keeps_its_colours(client: httpx.Client) -> None:
    wall: Pixels = np.full((400, 900, 3), (150, 170, 190), np.uint8)
    wall[100:300, 100:300] = drawn_face(200)
    picture = drawn(client, encoded(wall))
    area = explained(client, encoded(wall))["faces"][0]["area"]
    assert picture.shape == wall.shape
    beside = picture[:, area["left"] + area["width"] + 200 :]
    np.testing.assert_array_equal(beside, np.full_like(beside, (150, 170, 190)))


@pytest.mark.parametrize(
    "names",
    [
        ("wütend", "Ekel", "Angst", "glücklich", "neutral", "traurig", "überrascht"),
        ("怒り", "嫌悪", "恐れ", "喜び", "中立", "悲しみ", "驚き"),
        tuple(f"{'very ' * 30}{name}" for name in CLASSES),
    ],
    ids=["accents", "no Latin letters", "long"],
)
def test_any_class_name_gets_a_label(tmp_path: Path, names: tuple[str, ...]) -> None:
    model_folder(tmp_path / "model", contract=make_contract(classes=names))
    with serving(settings_in(tmp_path)) as client:
        ready(client)
        pictures = [drawn(client, picture_of(index)) for index in (0, 3)]
        shown = [cut(picture, labels(picture)[0]) for picture in pictures]
        ink = [float((part.max(axis=2) < 120).mean()) for part in shown]
        assert min(ink) > 0.02
        assert shown[0].shape != shown[1].shape or (shown[0] != shown[1]).any()


@pytest.mark.parametrize("size", [(1, 1), (3, 700), (900, 2)])
def test_a_picture_without_room_for_a_label_is_drawn_without_one(
    client: httpx.Client, size: tuple[int, int]
) -> None:
    picture = drawn(client, encoded(np.full((*size, 3), 128, np.uint8)))
    assert picture.shape[0] * size[1] == pytest.approx(picture.shape[1] * size[0], rel=0.5)
