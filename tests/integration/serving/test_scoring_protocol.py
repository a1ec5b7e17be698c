"""MLflow's scoring protocol, asked by MLflow's own client and compared with its own server's code."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import mlflow
import mlflow.onnx
import numpy as np
import onnx
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.pyfunc import PyFuncModel, scoring_server
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
from mlflow.types import Schema, TensorSpec

from serving.http.auth import hash_key
from tests.support.http_service import picture_of, ready, serving, settings_in, until
from tests.support.onnx_models import CLASSES
from tests.support.pictures import drawn_face, encoded
from tests.support.serving_models import flat, model_folder

OUTPUTS = ("probabilities", "heatmap", "embedding")
NOISE = np.random.default_rng(12).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
NESTED, FLAT = NOISE.tolist(), NOISE.reshape(3, -1).tolist()
JSON = {"content-type": "application/json"}
# ONNX Runtime chooses its kernels by batch size; float32 sums in another order differ in the last digits.
TOLERANCE: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-6}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scoring")
    model_folder(folder / "model")
    return folder


@pytest.fixture(scope="module")
def http(folder: Path) -> Iterator[httpx.Client]:
    with serving(settings_in(folder, max_tensor_images=20, batch_size=4, keep_images=1.0)) as client:
        yield ready(client)


@pytest.fixture(scope="module")
def client(http: httpx.Client) -> ScoringServerClient:
    return ScoringServerClient(http.base_url.host, http.base_url.port)


@pytest.fixture(scope="module")
def reference(folder: Path) -> PyFuncModel:
    """The same file as `mlflow models serve` would have it, with the signature that registration gives it."""
    tensors = {"probabilities": (-1, 7), "heatmap": (-1, -1, -1), "embedding": (-1, 6)}
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, 16, 16, 3), "image")]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), shape, name) for name, shape in tensors.items()]),
    )
    mlflow.onnx.save_model(
        onnx.load(str(folder / "model/model.onnx")),
        str(folder / "mlflow"),
        signature=signature,
        pip_requirements=["onnxruntime"],
    )
    loaded: PyFuncModel = mlflow.pyfunc.load_model(str(folder / "mlflow"))
    return loaded


def scored_by_mlflow(reference: PyFuncModel, body: Any) -> dict[str, Any]:
    """What MLflow's server answers."""
    schema = reference.metadata.get_input_schema()
    answer = scoring_server.invocations(json.dumps(body), "application/json", reference, schema)
    assert answer.status == 200
    return dict(json.loads(answer.response))


def post(http: httpx.Client, body: Any) -> httpx.Response:
    return http.post("/invocations", json=body)


def emotions(answer: Any) -> list[str]:
    return [CLASSES[index] for index in np.argmax(answer["predictions"]["probabilities"], axis=1)]


def test_the_client_waits_for_the_server_and_asks_its_version(client: ScoringServerClient) -> None:
    client.wait_server_ready(timeout=30)
    client.ping()
    assert client.get_version() == mlflow.__version__


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": NESTED},
        {"inputs": {"image": NESTED}},
        {"instances": NESTED},
        {"instances": [{"image": one} for one in NESTED]},
        {"dataframe_records": [{"image": one} for one in FLAT]},
        {"dataframe_records": [{"image": one, "file": "a.jpg"} for one in FLAT]},
        {"dataframe_split": {"columns": ["image"], "data": [[one] for one in FLAT]}},
        {"dataframe_split": {"index": [0, 1, 2], "columns": ["image"], "data": [[one] for one in FLAT]}},
        {"inputs": NESTED, "params": {"temperature": 1}},
    ],
    ids=lambda body: f"{'-'.join(body)}-{type(next(iter(body.values()))).__name__}",
)
@pytest.mark.filterwarnings("ignore:.*params.*:UserWarning")
def test_answers_are_those_of_mlflows_own_server(
    http: httpx.Client, reference: PyFuncModel, body: dict[str, Any]
) -> None:
    answer = post(http, body)
    assert answer.status_code == 200
    expected = scored_by_mlflow(reference, body)
    assert answer.json().keys() == expected.keys()
    assert list(answer.json()["predictions"]) == list(expected["predictions"])
    for name in OUTPUTS:
        np.testing.assert_allclose(
            answer.json()["predictions"][name], expected["predictions"][name], **TOLERANCE
        )


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"inputs": NESTED, "instances": NESTED},
        {"inputs": NESTED[0]},
        {"inputs": []},
        {"inputs": {"picture": NESTED}},
        {"dataframe_split": {"data": [[one] for one in FLAT]}},
        {"dataframe_records": {"image": FLAT}},
    ],
    ids=lambda body: str(body)[:40],
)
def test_what_mlflows_server_refuses_is_refused(
    http: httpx.Client, reference: PyFuncModel, body: Any
) -> None:
    with pytest.raises(MlflowException):
        scored_by_mlflow(reference, body)
    answer = post(http, body)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["error_code"] == "BAD_REQUEST"
    assert answer.json()["message"] == answer.json()["detail"]


@pytest.mark.parametrize("kind", ["array", "list", "frame"])
def test_the_client_sends_arrays_lists_and_frames(client: ScoringServerClient, kind: str) -> None:
    images = np.concatenate([flat(index) for index in (6, 0, 3)])
    data: Any = images
    if kind == "list":
        data = images.tolist()
    elif kind == "frame":
        data = pd.DataFrame({"image": list(images)})
    answer = client.invoke(data)
    assert emotions(answer) == [CLASSES[6], CLASSES[0], CLASSES[3]]
    probabilities = answer.get_predictions("ndarray").item()["probabilities"]
    assert np.shape(probabilities) == (3, len(CLASSES))


def test_the_client_shows_what_is_wrong(client: ScoringServerClient) -> None:
    with pytest.raises(
        Exception, match=r"error code 400.*expected whole numbers from 0 to 255 \(uint8, not sca"
    ):
        client.invoke(NOISE / 255)
    with pytest.raises(Exception, match=r"error code 413.*21 pictures were sent, at most 20 are accepted"):
        client.invoke(np.zeros((21, 16, 16, 3), np.uint8))


def scene() -> bytes:
    pixels = np.full((400, 600, 3), 128, np.uint8)
    pixels[100:300, 300:500] = drawn_face(200)
    return encoded(pixels)


@pytest.mark.parametrize("faces", ["auto", "none"])
def test_a_file_in_base64_gets_the_answer_of_detect(http: httpx.Client, faces: str) -> None:
    files = [scene(), picture_of(2, side=64)]
    body = {
        "dataframe_split": {
            "columns": ["image"],
            "data": [[base64.b64encode(file).decode()] for file in files],
        },
        "params": {"faces": faces},
    }
    answer = post(http, body)
    assert answer.status_code == 200, answer.text
    ids = answer.headers["mien-ids"].split(",")
    for index, file in enumerate(files):
        detected = http.post("/detect", content=file, params={"faces": faces}).json()
        got = answer.json()["predictions"]["probabilities"][index]
        np.testing.assert_allclose(got, list(detected["probabilities"].values()), atol=1e-5)
        until(lambda id=ids[index]: http.get(f"/predictions/{id}").json().get("picture_kept"))
        seen = http.get(f"/predictions/{ids[index]}").json()
        assert (seen["image"], seen["faces"]) == (detected["image"], len(detected["faces"]))
        assert seen["whole_image"] == detected["whole_image"]


def test_a_file_that_is_not_a_picture_is_refused_as_detect_does(http: httpx.Client) -> None:
    for data, status in ((b"", 422), (b"no picture", 415), (scene()[:200], 422)):
        answer = post(http, {"inputs": [base64.b64encode(data).decode()]})
        assert answer.status_code == status == http.post("/detect", content=data).status_code
        assert answer.json()["type"].startswith("urn:mien:problem:image-")


def test_the_headers_say_which_model_answered_and_what_was_recorded(http: httpx.Client) -> None:
    answer = post(http, {"inputs": NESTED})
    live = http.get("/model").json()["live"]
    assert answer.headers["mien-model"] == f"{live['name']}/{live['version']}"
    assert answer.headers["mien-sha256"] == live["sha256"]
    assert len(set(answer.headers["mien-ids"].split(","))) == 3
    assert "mien-ids" not in post(http, {"inputs": NESTED, "params": {"record": False}}).headers


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"a,b\n1,2\n", {"content-type": "text/csv"}, 415),
        (b"PAR1", {"content-type": "application/vnd.apache.parquet"}, 415),
        (b"{}", {}, 415),
        (b"{", JSON, 400),
        (b"{}", {**JSON, "content-encoding": "br"}, 415),
        (b'{"inputs": [' + b"[]," * 100_000 + b"0]}", JSON, 413),
    ],
    ids=["csv", "parquet", "untyped", "no JSON", "brotli", "lists"],
)
def test_other_bodies_are_refused(
    http: httpx.Client, content: bytes, headers: dict[str, str], status: int
) -> None:
    answer = http.post("/invocations", content=content, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert {"error_code", "message"} <= answer.json().keys()


def test_without_a_model_it_does_not_answer_the_ping(tmp_path: Path) -> None:
    with serving(settings_in(tmp_path)) as http:
        client = ScoringServerClient(http.base_url.host, http.base_url.port)
        with pytest.raises(Exception, match=r"ping failed .error code 503"):
            client.ping()
        with pytest.raises(Exception, match=r"error code 503.*TEMPORARILY_UNAVAILABLE"):
            client.invoke(NOISE)
        assert http.get("/health").status_code == 503


def test_the_ping_is_open_and_the_rest_needs_a_key(folder: Path) -> None:
    keys = (hash_key("app", "predict", "one"),)
    with serving(settings_in(folder, api_keys=keys)) as http:
        until(lambda: http.get("/ping").status_code == 200)
        assert http.get("/health").status_code == 200
        assert http.get("/version").status_code == 401
        assert post(http, {"inputs": NESTED}).json()["error_code"] == "UNAUTHENTICATED"
        key = {"authorization": "Bearer one"}
        assert http.post("/invocations", json={"inputs": NESTED}, headers=key).status_code == 200
