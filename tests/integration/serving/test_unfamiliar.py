"""Novelty and prediction sets in every form of an answer, of a real service with a model that has both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from serving.contract import ConformalThreshold, NoveltyOutput, decode, preprocess
from serving.inference.admission import admit
from serving.inference.onnx_classifier import OnnxClassifier
from serving.score.scorer import Scorer
from serving.settings import Settings
from tests.support.http_service import picture_of, ready, serving, settings_in
from tests.support.onnx_models import make_contract
from tests.support.pictures import drawn_face, encoded
from tests.support.serving_models import model_folder

CONTRACT = replace(
    make_contract(),
    conformal=ConformalThreshold(threshold=0.05, coverage=0.9, measured_coverage=0.875),
    novelty=NoveltyOutput(threshold=0.5),
)
# The novelty of the tests' model is the brightness of a picture: some below the threshold, some above.
FILES = {f"{index}.png": picture_of(index) for index in range(7)}
FACE = encoded(drawn_face(240), "JPEG")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    root = tmp_path_factory.mktemp("service")
    model_folder(root / "model", contract=CONTRACT)
    return settings_in(root)


@pytest.fixture(scope="module")
def client(settings: Settings) -> Iterator[httpx.Client]:
    with serving(settings) as client:
        ready(client)
        yield client


@pytest.fixture(scope="module")
def model(settings: Settings, client: httpx.Client) -> OnnxClassifier:
    (folder,) = settings.cache_dir.glob("*/models/*")
    return OnnxClassifier.open(folder / "model.onnx")


def detect(client: httpx.Client, data: bytes, path: str = "/detect") -> dict[str, Any]:
    answer = client.post(path, params={"faces": "none"}, content=data)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


@pytest.mark.parametrize("path", ["/detect", "/explain"])
def test_answers_follow_from_the_models_outputs(
    client: httpx.Client, model: OnnxClassifier, path: str
) -> None:
    spec, seen = CONTRACT.input, set()
    for data in FILES.values():
        image = preprocess(decode(data, max_pixels=10**6), spec, face=None)
        expected = model.predict(image[np.newaxis])
        assert expected.novelty is not None
        body = detect(client, data, path)
        assert body["novelty"] == pytest.approx(expected.novelty[0], abs=2e-6)
        assert body["unfamiliar"] is bool(expected.novelty[0] > 0.5)
        assert body["coverage"] == 0.9
        row = expected.probabilities[0]
        assert set(body["set"]) == {CONTRACT.classes[index] for index in np.flatnonzero(row >= 0.05)}
        assert [body["probabilities"][name] for name in body["set"]] == sorted(
            (body["probabilities"][name] for name in body["set"]), reverse=True
        )
        seen.add(body["unfamiliar"])
    assert seen == {True, False}


def test_every_face_has_its_own(client: httpx.Client) -> None:
    body = client.post("/detect", content=FACE).json()
    (face,) = body["faces"]
    for name in ("novelty", "unfamiliar", "set", "coverage"):
        assert face[name] == body[name], name


def test_batches_observations_and_scores_say_the_same(
    client: httpx.Client, settings: Settings, tmp_path: Path
) -> None:
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    files = [("file", (name, data)) for name, data in FILES.items()]
    batch = client.post("/detect/batch", params={"faces": "none"}, files=files).json()["results"]
    (folder,) = settings.cache_dir.glob("*/models/*")
    scorer = Scorer.configured(settings, admit(folder, threads=1, max_batch=16), faces="none")
    table = next(scorer.tables(tmp_path, [list(FILES)]))
    for row, entry in zip(table.to_pylist(), batch, strict=True):
        body = entry["result"]
        assert row["novelty"] == pytest.approx(body["novelty"], abs=2e-6)
        assert row["set"] == body["set"]
        stored = client.get(f"/predictions/{body['id']}").json()
        assert stored["novelty"] == pytest.approx(body["novelty"], abs=2e-6)


def test_standard_protocols_have_the_output(client: httpx.Client, model: OnnxClassifier) -> None:
    spec = CONTRACT.input
    images = np.full((2, spec.height, spec.width, 3), 100, np.uint8)
    images[1] += 100
    tensor = {"name": "image", "shape": list(images.shape), "datatype": "UINT8", "data": images.tolist()}
    name = client.get("/model").json()["live"]["name"]
    answer = client.post(f"/v2/models/{name}/infer", json={"inputs": [tensor]}).json()
    outputs = {output["name"]: output for output in answer["outputs"]}
    expected = model.predict(images).arrays()["novelty"]
    np.testing.assert_allclose(outputs["novelty"]["data"], expected, atol=2e-6)
    described = client.get(f"/v2/models/{name}").json()["outputs"]
    assert {"name": "novelty", "datatype": "FP32", "shape": [-1]} in described
    scored = client.post("/invocations", json={"inputs": images.tolist()}).json()
    np.testing.assert_allclose(scored["predictions"]["novelty"], expected, atol=2e-6)


def test_metrics_count_the_novelty_of_answers(client: httpx.Client) -> None:
    def counted() -> float:
        lines = client.get("/metrics").text.splitlines()
        return float(next(line.split()[1] for line in lines if line.startswith("mien_novelty_count")))

    before = counted()
    detect(client, FILES["0.png"])
    assert counted() == before + 1


def test_the_setting_takes_the_place_of_the_models_threshold(tmp_path: Path) -> None:
    model_folder(tmp_path / "model", contract=CONTRACT)
    with serving(settings_in(tmp_path).model_copy(update={"novelty_threshold": 100.0})) as client:
        ready(client)
        assert {detect(client, data)["unfamiliar"] for data in FILES.values()} == {False}
