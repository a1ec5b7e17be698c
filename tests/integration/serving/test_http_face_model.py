"""A model that was trained on YuNet's crops, promoted where YuNet's file is missing."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from serving.contract import InputSpec
from serving.contract.faces import YUNET_FILE, YUNET_SHA256
from serving.detection import detectors
from tests.support.http_service import picture_of, ready, serving, settings_in, until
from tests.support.onnx_models import CLASSES, make_contract, make_full_contract
from tests.support.serving_models import copied, flat, model_folder, sha256_of
from tests.support.yunet import write_blind_yunet

CROPPED = make_contract(spec=InputSpec(height=16, width=16, crop="face", detector="yunet", margin=0.1))


@pytest.mark.parametrize("file", [None, "missing.onnx", "foreign.onnx"])
def test_it_is_refused_with_the_reason_and_the_old_one_keeps_serving(
    tmp_path: Path, file: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    write_blind_yunet(tmp_path / "foreign.onnx")
    first = sha256_of(model_folder(tmp_path / "model"))
    second = sha256_of(model_folder(tmp_path / "next", contract=CROPPED))
    with serving(settings_in(tmp_path, face_model=tmp_path / file if file else None)) as client:
        ready(client)
        copied(tmp_path / "next", tmp_path / "model")
        until(lambda: client.get("/model").json()["following"]["refused"])
        body = client.get("/model").json()
        refused = body["following"]["refused"]
        assert (refused["sha256"], refused["step"]) == (second, "detector")
        assert refused["reason"].startswith("face detector 'yunet': ")
        assert (file or "no model file is named") in refused["reason"]
        assert body["live"]["sha256"] == first
        assert client.post("/detect?faces=none", content=picture_of(0)).json()["emotion"] == CLASSES[0]
        # The live model is warned about too: the detector's file differs from the one in its contract.
        warnings = " ".join(body["following"]["warnings"])
        assert (YUNET_SHA256 in warnings) == (file == "foreign.onnx")
        assert ("only requests with faces=none are answered" in warnings) == (file == "missing.onnx")
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len([line for line in errors if "refused at its detector" in line]) == 1


def test_a_version_that_brings_yunet_changes_the_detector_and_the_answer_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_blind_yunet(tmp_path / YUNET_FILE)
    monkeypatch.setattr(detectors, "YUNET_SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    monkeypatch.setattr(detectors, "SHARED", tmp_path / "none")
    model_folder(tmp_path / "model")
    second = sha256_of(model_folder(tmp_path / "next", contract=make_full_contract()))
    shutil.copyfile(file, tmp_path / "next" / YUNET_FILE)
    settings = settings_in(tmp_path)
    with serving(settings) as client:
        ready(client)
        assert client.get("/model").json()["live"]["face_detector"] == "haar"
        copied(tmp_path / "next", tmp_path / "model")
        until(lambda: client.get("/model").json()["live"]["sha256"] == second)
    assert (settings.cache_dir / YUNET_FILE).read_bytes() == file.read_bytes()
    # A model of whole pictures gets it after the restart too; this one was trained on Haar's crops.
    first = sha256_of(model_folder(tmp_path / "model"))
    (tmp_path / "model" / YUNET_FILE).unlink()
    with serving(settings) as client:
        ready(client)
        until(lambda: client.get("/model").json()["live"]["sha256"] == first)
        assert client.get("/model").json()["live"]["face_detector"] == "yunet"
        assert client.post("/detect", content=picture_of(3)).json()["emotion"] == CLASSES[3]


def test_version_2_of_the_contract_is_served_after_version_1(tmp_path: Path) -> None:
    model_folder(tmp_path / "model")
    model_folder(tmp_path / "next", contract=make_full_contract())
    with serving(settings_in(tmp_path)) as client:
        ready(client)
        assert client.get("/model").json()["live"]["contract"]["version"] == 1
        copied(tmp_path / "next", tmp_path / "model")
        until(lambda: client.get("/model").json()["live"]["contract"]["version"] == 2)
        model = client.get("/model").json()
        assert model["live"]["contract"] == json.loads(make_full_contract().to_json())
        assert (model["following"]["refused"], model["following"]["warnings"]) == (None, [])
        # Haar finds no face in a flat picture, which is then looked at as a whole.
        assert client.post("/detect", content=picture_of(3)).json()["emotion"] == CLASSES[3]
        assert client.post("/explain", content=picture_of(3)).status_code == 200
        tensor = {"name": "image", "datatype": "UINT8", "shape": [2, 16, 16, 3]}
        images = np.concatenate([flat(1), flat(4)])
        body = {"inputs": [tensor | {"data": images.ravel().tolist()}]}
        (outputs,) = [client.post("/v2/models/model/infer", json=body).json()["outputs"]]
        probabilities = next(one for one in outputs if one["name"] == "probabilities")
        assert np.reshape(probabilities["data"], (2, -1)).argmax(axis=1).tolist() == [1, 4]
