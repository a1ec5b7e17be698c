"""The Open Inference Protocol, asked by Triton's own client, compared with ONNX Runtime on the same file."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnxruntime
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from serving.http.auth import hash_key
from tests.support.http_service import ready, serving, settings_in, until
from tests.support.onnx_models import CLASSES, make_contract
from tests.support.serving_models import LEVELS, flat, model_folder

OUTPUTS = ("probabilities", "heatmap", "embedding")
NAME, VERSION = "model", "local"
INFER = f"/v2/models/{NAME}/infer"
NOISE = np.random.default_rng(11).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
# ONNX Runtime chooses its kernels by batch size; float32 sums in another order differ in the last digits.
TOLERANCE: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-6}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("v2")
    model_folder(folder / "model")
    return folder


@pytest.fixture(scope="module")
def http(folder: Path) -> Iterator[httpx.Client]:
    with serving(settings_in(folder, max_tensor_images=20, batch_size=4)) as client:
        yield ready(client)


def address(http: httpx.Client) -> str:
    return f"{http.base_url.host}:{http.base_url.port}"


@pytest.fixture(scope="module")
def client(http: httpx.Client) -> Iterator[triton.InferenceServerClient]:
    client = triton.InferenceServerClient(address(http))
    yield client
    client.close()


def expected(folder: Path, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """What the file says of the pictures, one by one."""
    session = onnxruntime.InferenceSession(folder / "model/model.onnx", providers=["CPUExecutionProvider"])
    rows = [session.run(OUTPUTS, {"image": image[np.newaxis]}) for image in images]
    return {name: np.concatenate(parts) for name, parts in zip(OUTPUTS, zip(*rows, strict=True), strict=True)}


def tensor(images: NDArray[Any], *, binary: bool = True, **changes: Any) -> triton.InferInput:
    given = {"name": "image", "shape": list(images.shape), "datatype": "UINT8"} | changes
    made = triton.InferInput(given["name"], given["shape"], given["datatype"])
    return made.set_data_from_numpy(images, binary_data=binary)


def refusal(client: triton.InferenceServerClient, *inputs: triton.InferInput, **more: Any) -> tuple[str, str]:
    """Status and message, as the client shows them."""
    with pytest.raises(InferenceServerException) as raised:
        client.infer(more.pop("model_name", NAME), list(inputs), **more)
    return str(raised.value.status()), str(raised.value.message())


def problem(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert body["error"] == body["detail"]
    return answer.status_code, body["type"].rpartition(":")[2]


def test_the_client_finds_server_and_model(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(NAME)
    assert client.is_model_ready(NAME, VERSION)
    assert not client.is_model_ready("other")
    assert not client.is_model_ready(NAME, "7")
    server = client.get_server_metadata()
    assert server["name"] == "mien"
    assert {"binary_tensor_data", "classification"} <= set(server["extensions"])
    listed = client.get_model_repository_index()
    assert [(one["name"], one["version"], one["state"]) for one in listed] == [(NAME, VERSION, "READY")]


def test_metadata_are_the_files_own_tensors(client: triton.InferenceServerClient, folder: Path) -> None:
    session = onnxruntime.InferenceSession(folder / "model/model.onnx", providers=["CPUExecutionProvider"])
    types = {"tensor(uint8)": "UINT8", "tensor(float)": "FP32"}

    def described(tensors: Any) -> list[dict[str, Any]]:
        return [
            {"name": one.name, "datatype": types[one.type], "shape": [-1, *one.shape[1:]]} for one in tensors
        ]

    metadata = client.get_model_metadata(NAME, VERSION)
    assert metadata == client.get_model_metadata(NAME)
    assert (metadata["name"], metadata["versions"]) == (NAME, [VERSION])
    assert metadata["inputs"] == described(session.get_inputs())
    assert metadata["outputs"] == described(session.get_outputs())


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("binary_in", [True, False], ids=["bytes-in", "json-in"])
@pytest.mark.parametrize("binary_out", [True, False, None], ids=["bytes-out", "json-out", "default"])
def test_answers_are_those_of_onnx_runtime(
    client: triton.InferenceServerClient, folder: Path, count: int, binary_in: bool, binary_out: bool | None
) -> None:
    images = NOISE[:count]
    outputs = None
    if binary_out is not None:
        outputs = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in OUTPUTS]
    answer = client.infer(NAME, [tensor(images, binary=binary_in)], outputs=outputs, request_id="a-7")
    for name, array in expected(folder, images).items():
        got = answer.as_numpy(name)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, array, **TOLERANCE)
    body = answer.get_response()
    assert (body["model_name"], body["model_version"], body["id"]) == (NAME, VERSION, "a-7")


def test_only_what_is_asked_for_is_answered(client: triton.InferenceServerClient) -> None:
    wanted = [
        triton.InferRequestedOutput("embedding", binary_data=False),
        triton.InferRequestedOutput("probabilities", binary_data=True, class_count=2),
    ]
    answer = client.infer(NAME, [tensor(flat(3))], model_version=VERSION, outputs=wanted)
    assert [output["name"] for output in answer.get_response()["outputs"]] == ["embedding", "probabilities"]
    assert "id" not in answer.get_response()
    best = answer.as_numpy("probabilities")[0, 0].decode()
    assert best.split(":")[1:] == ["3", CLASSES[3]]


def test_more_pictures_than_a_batch_holds_come_out_in_order(client: triton.InferenceServerClient) -> None:
    order = [index % len(CLASSES) for index in range(19)]
    images = np.concatenate([flat(index) for index in order])
    answer = client.infer(NAME, [tensor(images)])
    assert answer.as_numpy("probabilities").argmax(axis=1).tolist() == order


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False], ids=["bytes", "json"])
def test_compressed_requests_are_read(
    client: triton.InferenceServerClient, algorithm: str, binary: bool
) -> None:
    answer = client.infer(
        NAME,
        [tensor(flat(4), binary=binary)],
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    assert answer.as_numpy("probabilities").argmax() == 4


def test_a_bomb_is_refused(http: httpx.Client) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    answer = http.post(INFER, content=bomb, headers={"content-encoding": "gzip"})
    assert problem(answer) == (413, "payload-too-large")


def test_raw_bytes_are_read_and_answered_in_json(http: httpx.Client) -> None:
    headers = {"inference-header-content-length": "0", "content-type": "application/octet-stream"}
    answer = http.post(INFER, content=flat(2, count=3).tobytes(), headers=headers)
    assert answer.status_code == 200
    assert "inference-header-content-length" not in answer.headers
    assert answer.json()["outputs"][0]["shape"] == [3, len(CLASSES)]


def test_requests_that_come_at_once_get_their_own_answers(http: httpx.Client) -> None:
    with triton.InferenceServerClient(address(http), concurrency=8) as client:
        order = [index % len(CLASSES) for index in range(40)]
        waiting = [client.async_infer(NAME, [tensor(flat(index))]) for index in order]
        answers = [one.get_result() for one in waiting]
    assert [int(answer.as_numpy("probabilities").argmax()) for answer in answers] == order


def test_the_asyncio_client_works_too(http: httpx.Client) -> None:
    async def ask() -> list[int]:
        async with triton_aio.InferenceServerClient(address(http)) as client:
            assert await client.is_server_ready()
            order = [index % len(CLASSES) for index in range(20)]
            binary = [index % 2 == 0 for index in range(20)]
            answers = await asyncio.gather(
                *(
                    client.infer(NAME, [tensor(flat(index), binary=kind)])
                    for index, kind in zip(order, binary, strict=True)
                )
            )
            return [int(answer.as_numpy("probabilities").argmax()) for answer in answers]

    assert asyncio.run(ask()) == [index % len(CLASSES) for index in range(20)]


def test_the_client_shows_what_is_wrong(client: triton.InferenceServerClient) -> None:
    wrong_side = tensor(NOISE[:, :8])
    assert refusal(client, wrong_side) == (
        "400",
        "the shape of 'image' is [5, 8, 16, 3], expected [n, 16, 16, 3]",
    )
    scaled = tensor(NOISE.astype(np.float32) / 255, datatype="FP32")
    assert refusal(client, scaled) == ("400", "the datatype of 'image' is 'FP32', expected 'UINT8'")
    named = tensor(NOISE, name="input_0")
    assert refusal(client, named) == ("400", "the input's name is 'input_0', expected 'image'")
    assert refusal(client, tensor(NOISE), tensor(NOISE))[0] == "400"
    output = [triton.InferRequestedOutput("logits")]
    assert "probabilities, heatmap, embedding" in refusal(client, tensor(NOISE), outputs=output)[1]
    many = np.zeros((21, 16, 16, 3), np.uint8)
    assert refusal(client, tensor(many)) == (
        "413",
        "21 pictures were sent, at most 20 are accepted; send several requests",
    )
    shared = triton.InferInput("image", [1, 16, 16, 3], "UINT8")
    shared.set_shared_memory("region", 768)
    assert "shared memory is not supported" in refusal(client, shared)[1]


def test_only_the_live_model_is_known(client: triton.InferenceServerClient, http: httpx.Client) -> None:
    status, message = refusal(client, tensor(NOISE), model_name="other")
    assert status == "404"
    assert message == (
        f"'other' is not live, the live model is '{NAME}' version '{VERSION}'; "
        "request that one, or omit the version"
    )
    assert refusal(client, tensor(NOISE), model_version="7")[0] == "404"
    for path in ("/v2/models/other", f"/v2/models/{NAME}/versions/7/ready", "/v2/models/x/load", "/v2/"):
        assert problem(http.get(path)) == (404, "not-found")
    assert problem(http.get(INFER)) == (405, "method-not-allowed")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-type": "application/json", "content-encoding": "br"}, 415),
        ({"content-type": "application/json", "content-encoding": "gzip"}, 400),
        ({"inference-header-content-length": "-1"}, 400),
        ({"inference-header-content-length": "9" * 4000}, 400),
        ({"inference-header-content-length": "3"}, 400),
        ({"content-type": "application/json"}, 400),
    ],
    ids=str,
)
def test_other_bodies_are_refused(http: httpx.Client, headers: dict[str, str], status: int) -> None:
    answer = http.post(INFER, content=b"{}", headers=headers)
    assert problem(answer)[0] == status


def test_a_body_that_no_allowed_request_needs_is_not_read(http: httpx.Client) -> None:
    # 20 pictures of 768 values, at most 6 bytes each in JSON, and 64 KiB for the rest.
    limit = 20 * 768 * 6 + 65_536
    headers = {"content-type": "application/json"}
    assert problem(http.post(INFER, content=b" " * (limit + 1), headers=headers)) == (
        413,
        "payload-too-large",
    )
    assert problem(http.post(INFER, content=b" " * limit, headers=headers)) == (400, "bad-request")


def test_each_picture_is_recorded_unless_the_client_says_otherwise(
    client: triton.InferenceServerClient, http: httpx.Client
) -> None:
    def predicted_ids(**more: Any) -> list[str]:
        answer = client.infer(NAME, [tensor(np.concatenate([flat(1), flat(6)]))], **more)
        return [id for id in answer.get_response()["parameters"].get("ids", "").split(",") if id]

    assert predicted_ids(parameters={"record": False}) == []
    ids = predicted_ids()
    assert len(set(ids)) == 2
    until(lambda: http.get(f"/predictions/{ids[1]}").status_code == 200)
    for id, index in zip(ids, (1, 6), strict=True):
        seen = http.get(f"/predictions/{id}").json()
        assert (seen["emotion"], seen["image"]) == (CLASSES[index], {"width": 16, "height": 16})
        assert seen["input"]["brightness"] == pytest.approx(round(LEVELS[index] * 255) / 255, abs=1e-3)
        assert not seen["picture_kept"]
    assert http.post("/feedback", json={"id": ids[0], "emotion": CLASSES[0]}).status_code == 200


def test_predictions_and_requests_are_counted(
    client: triton.InferenceServerClient, http: httpx.Client
) -> None:
    def count(series: str) -> float:
        lines = http.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(series))

    requests = 'mien_requests_total{method="POST",route="/v2/models/{name}/infer",status="200"}'
    emotions = f'mien_predictions_total{{emotion="{CLASSES[5]}",version="{VERSION}"}}'
    before = count(requests), count(emotions)
    client.infer(NAME, [tensor(flat(5, count=3))])
    assert (count(requests), count(emotions)) == (before[0] + 1, before[1] + 3)


def test_without_a_model_the_server_lives_and_is_not_ready(tmp_path: Path) -> None:
    with serving(settings_in(tmp_path)) as http, triton.InferenceServerClient(address(http)) as client:
        assert client.is_server_live()
        assert not client.is_server_ready()
        assert not client.is_model_ready(NAME)
        assert client.get_model_repository_index() == []
        assert problem(http.get("/v2/health/ready")) == (503, "not-ready")
        status, message = refusal(client, tensor(NOISE))
        assert status == "503"
        assert "model" in message


def test_health_is_open_and_the_rest_needs_a_key(folder: Path) -> None:
    keys = (hash_key("app", "predict", "one"),)
    with (
        serving(settings_in(folder, api_keys=keys)) as http,
        triton.InferenceServerClient(address(http)) as client,
    ):
        until(client.is_server_ready)
        assert client.is_server_live()
        status, message = refusal(client, tensor(NOISE))
        assert (status, message[:15]) == ("401", "no key was sent")
        answer = client.infer(NAME, [tensor(flat(2))], headers={"Authorization": "Bearer one"})
        assert answer.as_numpy("probabilities").argmax() == 2


def test_an_answer_that_would_come_too_late_is_not_waited_for(folder: Path) -> None:
    with serving(settings_in(folder, timeout_s=1e-6)) as http:
        ready(http)
        body = json.dumps({"inputs": [{"name": "image", "shape": [1, 16, 16, 3], "datatype": "UINT8"}]})
        late = http.post(INFER, content=body, headers={"content-type": "application/json"})
        assert problem(late) == (503, "deadline-passed")
        assert int(late.headers["retry-after"]) > 0


def test_a_model_of_another_size_takes_over_and_no_tensor_meets_the_wrong_one(tmp_path: Path) -> None:
    model_folder(tmp_path / "model")
    with serving(settings_in(tmp_path)) as http, triton.InferenceServerClient(address(http)) as client:
        ready(http)
        first = http.get("/model").json()["live"]["sha256"]
        model_folder(tmp_path / "model", contract=make_contract(side=24), seed=1)
        answered: dict[int, set[str]] = {16: set(), 24: set()}

        def asked(side: int) -> bool:
            """Whether a tensor of this size is the live model's."""
            try:
                answer = client.infer(NAME, [tensor(flat(4, side=side))])
            except InferenceServerException as error:
                if error.status() != "400":
                    raise
                return False
            assert answer.as_numpy("probabilities").argmax() == 4
            answered[side].add(answer.get_response()["parameters"]["sha256"])
            return True

        until(lambda: (asked(16), asked(24))[1])
        assert not asked(16)
        assert answered[16] <= {first}
        assert answered[24] == {http.get("/model").json()["live"]["sha256"]} != {first}
