"""The shadow looks at frames of streams and at tensors too."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.support.http_service import picture_of, ready, serving, settings_in
from tests.support.onnx_models import CLASSES, make_contract
from tests.support.serving_models import flat, model_folder
from tests.support.streams import asked, stream_of
from tests.support.trials import ask, compared, confused, looking, shadow_report


def settings(folder: Path) -> Any:
    return settings_in(folder, shadow_model=str(folder / "other"), shadow_fraction=1.0)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[httpx.Client]:
    """A service whose shadow confuses the first two emotions and takes the live model's inputs."""
    model_folder(tmp_path / "model")
    confused(tmp_path / "other")
    with serving(settings(tmp_path)) as client:
        yield looking(ready(client))


def infer(client: httpx.Client, *indices: int, record: bool = True) -> httpx.Response:
    """The answer to one tensor with a picture of each of these classes."""
    images = np.concatenate([flat(index) for index in indices])
    tensor = {"name": "image", "shape": list(images.shape), "datatype": "UINT8"}
    body = {
        "inputs": [{**tensor, "data": images.flatten().tolist()}],
        "parameters": {"record": record},
    }
    answer = client.post("/v2/models/model/infer", content=json.dumps(body))
    assert answer.status_code == 200, answer.text
    return answer


def agreement_of(report: dict[str, Any]) -> dict[str, dict[str, int]]:
    """The live model's emotion → the shadow's → how often."""
    return {emotion: found["shadow"] for emotion, found in report["emotions"].items()}


def test_every_recorded_picture_of_a_tensor_is_compared(client: httpx.Client) -> None:
    infer(client, 0, 0, 3)
    infer(client, 5, record=False)
    pictures = [base64.b64encode(picture_of(1)).decode(), flat(6)[0].tolist()]
    assert client.post("/invocations", json={"inputs": pictures}).status_code == 200
    report = compared(client, 5)
    assert agreement_of(report) == {
        CLASSES[0]: {CLASSES[1]: 2},
        CLASSES[1]: {CLASSES[0]: 1},
        CLASSES[3]: {CLASSES[3]: 1},
        CLASSES[6]: {CLASSES[6]: 1},
    }
    assert (report["compared"], report["agreed"], report["failed"]) == (5, 2, 0)


def test_a_streams_recorded_frames_are_compared(client: httpx.Client) -> None:
    with stream_of(client) as socket:
        answers = [asked(socket, picture_of(0)) for _ in range(4)]
    recorded = sum(answer["recorded"] for answer in answers)
    assert recorded >= 1
    assert agreement_of(compared(client, recorded)) == {CLASSES[0]: {CLASSES[1]: recorded}}


@pytest.mark.parametrize(
    "contract", [make_contract(side=24), make_contract(color="gray")], ids=["another size", "other colours"]
)
def test_tensors_for_another_input_are_left_out_and_files_are_not(tmp_path: Path, contract: Any) -> None:
    model_folder(tmp_path / "model")
    confused(tmp_path / "other", contract=contract)
    with serving(settings(tmp_path)) as client:
        looking(ready(client))
        infer(client, 2)
        pictures = [base64.b64encode(picture_of(1)).decode(), flat(6)[0].tolist()]
        assert client.post("/invocations", json={"inputs": pictures}).status_code == 200
        ask(client, 4)
        # Pictures are looked at in order: the last one is compared, so the tensors before it were not.
        report = compared(client, 2)
        assert agreement_of(report) == {CLASSES[1]: {CLASSES[0]: 1}, CLASSES[4]: {CLASSES[4]: 1}}
        assert (report["failed"], report["dropped"]) == (0, 0)
        assert shadow_report(client)["compared"] == 2


def test_the_order_of_the_classes_does_not_matter_to_the_shadow(tmp_path: Path) -> None:
    model_folder(tmp_path / "model")
    model_folder(tmp_path / "other", contract=make_contract(classes=CLASSES[::-1]))
    with serving(settings(tmp_path)) as client:
        looking(ready(client))
        infer(client, 0, 1)
        # The other model is one by brightness as well: it calls the darkest what is its first class.
        report = compared(client, 2)
        assert agreement_of(report) == {CLASSES[0]: {CLASSES[-1]: 1}, CLASSES[1]: {CLASSES[-2]: 1}}
