"""Labelling over HTTP: keys with the scope, pictures without answers, labels, undo, agreement, deletion."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from serving.http.auth import hash_key
from serving.observations.consensus import NOT_A_FACE, SKIP
from tests.support.http_service import ready, serving, settings_in, until
from tests.support.onnx_models import CLASSES
from tests.support.pictures import colored, drawn_face, encoded
from tests.support.serving_models import model_folder

PEOPLE = ("anna", "ben", "cleo")
KEYS = dict.fromkeys(PEOPLE, "label") | {"app": "predict", "ops": "admin"}


class Service:
    """A service that keeps every picture, and its callers by the name of their key."""

    def __init__(self, address: str, stack: ExitStack) -> None:
        self.by = {
            name: stack.enter_context(
                httpx.Client(base_url=address, timeout=30, headers={"authorization": f"Bearer {name}"})
            )
            for name in KEYS
        }

    def answer(self, data: bytes, *, faces: str = "none") -> str:
        """Have a picture answered; its id, once it is in the database."""
        sent = self.by["app"].post("/detect", content=data, params={"faces": faces})
        id: str = sent.json()["id"]
        until(lambda: self.by["app"].get(f"/predictions/{id}").json()["picture_kept"])
        return id

    def tasks(self, name: str, **query: Any) -> list[str]:
        answer = self.by[name].get("/labels/next", params=query)
        assert answer.status_code == 200, answer.text
        return [task["id"] for task in answer.json()["tasks"]]

    def label(self, name: str, id: str, label: str, **more: str) -> httpx.Response:
        return self.by[name].post("/labels", json={"id": id, "label": label, **more})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model_folder(tmp_path / "model")
    return tmp_path


@pytest.fixture
def service(folder: Path) -> Iterator[Service]:
    keys = tuple(hash_key(name, scope, name) for name, scope in KEYS.items())
    with serving(settings_in(folder, keep_images=1.0, api_keys=keys)) as client, ExitStack() as stack:
        ready(client)
        yield Service(str(client.base_url), stack)


def test_two_people_label_until_they_agree(service: Service) -> None:
    ids = {service.answer(encoded(colored(number))) for number in range(3)}
    first = service.by["anna"].get("/labels/next").json()
    assert (first["labeller"], first["labelled"]) == ("anna", 0)
    assert {task["id"] for task in first["tasks"]} == ids
    # Neither the model's answer nor anything that tells it.
    assert {key for task in first["tasks"] for key in task} == {"id", "time", "classes"}
    assert {tuple(task["classes"]) for task in first["tasks"]} == {CLASSES}

    one, two, three = (task["id"] for task in first["tasks"])
    assert service.label("anna", one, "sad").json() == {"id": one, "label": "sad", "labeller": "anna"}
    assert service.label("anna", two, NOT_A_FACE).status_code == 200
    assert service.label("anna", three, SKIP).status_code == 200
    assert service.tasks("anna") == []
    assert set(service.tasks("ben")[:2]) == {one, two}
    service.label("ben", one, "sad")
    service.label("ben", two, "fear")
    assert service.tasks("cleo") == [two, three]
    service.label("cleo", two, "happy")
    found = service.by["cleo"].get("/labels").json()
    assert found == {
        "needed": 2,
        "pictures": {"open": 0, "agreed": 1, "disputed": 1},
        "agreed": {"sad": 1},
        "labels": 5,
        "skips": 1,
        "labellers": 3,
        # By hand: 2 sad and three others; all 6 ordered pairs of `two` differ, weighed by 1/2:
        # 1 − (5 − 1) · 3 / (25 − 4 − 1 − 1 − 1).
        "alpha": pytest.approx(1 - 4 * 3 / 18, abs=1e-6),
        "disputed": [{"id": two, "labels": {NOT_A_FACE: 1, "fear": 1, "happy": 1}}],
    }


def test_undo_brings_the_picture_back_and_only_the_own_label_goes(service: Service) -> None:
    id = service.answer(encoded(colored(1)))
    service.label("anna", id, "sad")
    service.label("ben", id, "fear")
    assert service.by["cleo"].delete(f"/labels/{id}/mine").status_code == 404
    assert service.by["anna"].delete(f"/labels/{id}/mine").status_code == 204
    assert service.by["anna"].delete(f"/labels/{id}/mine").status_code == 404
    assert service.tasks("anna") == [id]
    assert service.by["anna"].get("/labels").json()["labels"] == 1
    # A second label replaces the first one.
    service.label("ben", id, "sad")
    service.label("anna", id, "sad")
    assert service.by["anna"].get("/labels").json()["agreed"] == {"sad": 1}


def test_the_picture_is_the_models_crop_without_metadata(service: Service) -> None:
    scene = np.full((900, 1200, 3), 128, np.uint8)
    scene[100:500, 600:1000] = drawn_face(400)
    id = service.answer(encoded(scene), faces="auto")
    answer = service.by["anna"].get(f"/labels/{id}/picture")
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["cache-control"] == "no-store"
    face = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
    assert face is not None
    box = service.by["app"].get(f"/predictions/{id}").json()["box"]
    # The box and 15 % on each side (MIEN_FACE_MARGIN).
    assert face.shape[0] == face.shape[1] == pytest.approx(min(640, 1.3 * box["width"]), abs=2)
    whole = service.answer(encoded(scene))
    answer = service.by["anna"].get(f"/labels/{whole}/picture")
    shape = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
    assert shape is not None
    assert shape.shape == (480, 640, 3)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/labels"),
        ("GET", "/labels/next"),
        ("GET", f"/labels/{'0' * 32}/picture"),
        ("POST", "/labels"),
        ("DELETE", f"/labels/{'0' * 32}/mine"),
    ],
)
def test_labelling_needs_the_scope(service: Service, method: str, path: str) -> None:
    refused = service.by["app"].request(method, path)
    assert (refused.status_code, refused.json()["type"]) == (403, "urn:mien:problem:forbidden")
    for name in ("anna", "ops"):
        assert service.by[name].request(method, path).status_code != 403
    # Labellers delete nothing.
    assert service.by["anna"].delete(f"/predictions/{'0' * 32}").status_code == 403


def test_a_given_name_tells_people_of_one_key_apart_and_is_not_another_key(service: Service) -> None:
    id = service.answer(encoded(colored(1)))
    assert service.label("anna", id, "sad", labeller="ben").json()["labeller"] == "anna/ben"
    assert service.tasks("anna", labeller="ben") == []
    assert service.tasks("anna") == service.tasks("ben") == [id]
    assert service.by["anna"].delete(f"/labels/{id}/mine").status_code == 404
    assert service.by["anna"].delete(f"/labels/{id}/mine", params={"labeller": "ben"}).status_code == 204


@pytest.mark.parametrize(
    "body",
    [
        {"label": "sad"},
        {"id": "1", "label": "sad"},
        {"id": 5, "label": "sad"},
        {"label": ""},
        {"label": 5},
        {"label": "bored"},
        {"label": "sad", "labeller": "a b"},
        {"label": "sad", "labeller": ""},
        {"label": "sad", "labeller": 5},
        {"label": "sad", "by": "me"},
    ],
    ids=str,
)
def test_what_is_not_a_label_is_refused(service: Service, body: dict[str, object]) -> None:
    id = service.answer(encoded(colored(1)))
    given = body if set(body) == {"label"} and body["label"] == "sad" else {"id": id} | body
    refused = service.by["anna"].post("/labels", json=given)
    assert (refused.status_code, refused.json()["type"]) == (400, "urn:mien:problem:bad-request")
    for path in ("/labels/next?limit=0", "/labels/next?limit=21", "/labels/next?labeller=a/b"):
        assert service.by["anna"].get(path).status_code == 400


def test_only_kept_pictures_can_be_labelled(service: Service, folder: Path) -> None:
    unknown = "0" * 32
    assert service.label("anna", unknown, "sad").status_code == 404
    assert service.by["anna"].get(f"/labels/{unknown}/picture").status_code == 404
    id = service.answer(encoded(colored(1)))
    [file] = (folder / "pictures").rglob("*.png")
    file.unlink()
    assert service.by["anna"].get(f"/labels/{id}/picture").status_code == 404
    assert service.tasks("anna") == []


def test_labels_go_with_the_answer_and_are_counted(service: Service) -> None:
    id = service.answer(encoded(colored(1)))
    service.label("anna", id, "sad")
    service.label("anna", id, SKIP)
    text = service.by["app"].get("/metrics").text
    counted = dict(re.findall(r'^mien_labels_total\{label="([^"]+)"\} (\S+)$', text, re.MULTILINE))
    assert counted == {"sad": "1.0", SKIP: "1.0"}
    assert service.by["ops"].delete(f"/predictions/{id}").status_code == 204
    assert service.by["anna"].get("/labels").json()["skips"] == 0
    assert service.label("anna", id, "sad").status_code == 404


def test_about_says_who_may_label(service: Service, folder: Path) -> None:
    assert {name: client.get("/about").json()["labels"] for name, client in service.by.items()} == {
        "anna": True, "ben": True, "cleo": True, "app": False, "ops": True,
    }  # fmt: skip
    with serving(settings_in(folder)) as client:
        ready(client)
        assert not client.get("/about").json()["labels"]
        # Nothing is kept: there is nothing to label, which is not an error.
        assert client.get("/labels/next").json()["tasks"] == []
