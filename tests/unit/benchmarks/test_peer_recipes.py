"""What peers are sent, and that each has what its start needs."""

import base64
import email
import email.policy
import json
from pathlib import Path
from typing import Any

import pytest

import benchmarks.peers.recipes as peers
from benchmarks.peers.check import Expected, WrongAnswer, check
from benchmarks.peers.default_path import FaceRow, table
from benchmarks.peers.environments import ALONE, HERE, environment_path
from benchmarks.peers.face_recipes import face_recipes

PICTURE = bytes(range(256))


def picture_in(way: peers.Way) -> bytes:
    """The picture as the server finds it in the request's body."""
    body = way.encode(PICTURE)
    if way.content_type == peers.FORM:
        head = b"Content-Type: " + way.content_type.encode() + b"\r\n\r\n"
        (part,) = email.message_from_bytes(head + body, policy=email.policy.HTTP).iter_parts()
        assert part["content-disposition"].params["name"] == "file"
        content: Any = part.get_payload(decode=True)
        return bytes(content)
    if way.content_type != peers.JSON:
        return body
    asked: Any = json.loads(body)
    text = asked.get("image_data") or asked["inputs"][0]
    return base64.b64decode(text if isinstance(text, str) else text["data"][0])


@pytest.mark.parametrize("recipe", peers.recipes(), ids=lambda recipe: recipe.name)
def test_the_picture_arrives_as_it_is(recipe: peers.Recipe) -> None:
    assert all(picture_in(way) == PICTURE for way in recipe.ways)


EVERY = {recipe.name: recipe for recipe in (*peers.recipes(), *face_recipes())}


@pytest.mark.parametrize("recipe", EVERY.values(), ids=EVERY)
def test_every_requirement_is_pinned_and_no_index_is_named(recipe: peers.Recipe) -> None:
    files = [HERE / recipe.name / "requirements.txt", HERE / recipe.name / ALONE]
    lines = [
        line for file in files if file.exists() for line in file.read_text(encoding="utf-8").splitlines()
    ]
    wanted = [line for line in lines if not line.startswith("#")]
    assert wanted
    assert all("==" in line and "://" not in line and not line.startswith("-") for line in wanted)


def test_the_same_runtime_is_under_every_server() -> None:
    common = ("onnxruntime==", "numpy==", "opencv-python-headless==")
    files = [
        (HERE / recipe.name / "requirements.txt").read_text(encoding="utf-8") for recipe in peers.recipes()
    ]
    pins = [sorted(line for line in text.splitlines() if line.startswith(common)) for text in files]
    assert all(pin == pins[0] and len(pin) == len(common) for pin in pins)


def test_other_requirements_are_another_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "peer/requirements.txt"
    file.parent.mkdir()
    monkeypatch.setattr("benchmarks.peers.environments.HERE", tmp_path)
    file.write_text("one==1\n")
    first = environment_path("peer", tmp_path / "cache")
    file.write_text("one==2\n")
    second = environment_path("peer", tmp_path / "cache")
    (file.parent / ALONE).write_text("three==3\n")
    third = environment_path("peer", tmp_path / "cache")
    assert len({first, second, third}) == 3
    assert first.parent == tmp_path / "cache"


@pytest.mark.parametrize("peer", face_recipes(), ids=lambda peer: peer.name)
def test_peers_that_find_faces_get_the_picture_of_a_form(peer: peers.Recipe) -> None:
    (way,) = peer.ways
    assert way.content_type == peers.FORM
    assert picture_in(way) == PICTURE


def test_the_default_path_s_table_has_the_median_and_the_ratio_of_each_round() -> None:
    figures = {"per_s": [10, 30, 20], "p50_ms": [1, 3, 2], "p99_ms": [4, 6, 5], "cpu_ms": [7, 9, 8]}
    row = FaceRow(
        title="it", kind="library", picture="group", connections=8, faces=3, lead=[4, 2, 3], **figures
    )
    text = list(table([row]))
    assert text[0] == "**group, 8 clients**"
    assert text[-2] == "| it | 3 | 20.0 | 3.00 (2.00–4.00) | 2.0 | 5.0 | 8.0 |"


EXPECTED = [Expected(picture=PICTURE, probabilities={"happy": 0.75, "sad": 0.25})]


def answering(status: int, probabilities: dict[str, float]) -> Any:
    return lambda picture: (status, json.dumps({"probabilities": probabilities}).encode())


def test_the_models_own_answer_passes() -> None:
    check("it", answering(200, {"happy": 0.75004, "sad": 0.24996}), peers.plain, EXPECTED)


@pytest.mark.parametrize(
    ("status", "probabilities"),
    [(200, {"happy": 0.25, "sad": 0.75}), (200, {"happy": 0.75}), (500, {"happy": 0.75, "sad": 0.25})],
    ids=["other", "incomplete", "error"],
)
def test_another_answer_is_not_timed(status: int, probabilities: dict[str, float]) -> None:
    with pytest.raises(WrongAnswer, match="it answers"):
        check("it", answering(status, probabilities), peers.plain, EXPECTED)
