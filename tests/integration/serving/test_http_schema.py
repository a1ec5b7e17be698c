"""The OpenAPI document against what the service really answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from jsonschema import Draft202012Validator, ValidationError

from tests.support.http_service import picture_of, ready, serving, settings_in
from tests.support.pictures import drawn_face, encoded
from tests.support.serving_models import model_folder


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("schema")
    model_folder(folder / "model")
    with serving(settings_in(folder)) as client:
        yield ready(client)


@pytest.fixture(scope="module")
def document(client: httpx.Client) -> dict[str, Any]:
    return dict(client.get("/openapi.json").json())


def scene() -> bytes:
    pixels = np.full((400, 600, 3), 128, np.uint8)
    pixels[100:300, 300:500] = drawn_face(200)
    return encoded(pixels)


def check(document: dict[str, Any], method: str, path: str, answer: httpx.Response) -> None:
    """The answer is one that the document promises for this endpoint."""
    promised = document["paths"][path][method]["responses"]
    assert str(answer.status_code) in promised
    content = promised[str(answer.status_code)]["content"]
    schema = content[answer.headers["content-type"].partition(";")[0]]["schema"]
    whole = closed({**schema, "components": document["components"]})
    Draft202012Validator(whole).validate(answer.json())


def closed(schema: Any) -> Any:
    """The schema, which also refuses keys that it does not declare."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inside = {name: closed(value) for name, value in schema.items()}
    return {"additionalProperties": False, **inside} if "properties" in schema else inside


def test_every_schema_is_one_and_accepts_its_own_example(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
        if "example" in schema:
            Draft202012Validator({**schema, "components": document["components"]}).validate(schema["example"])


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            yield from [value["$ref"]] if "$ref" in value else []
            for item in value.values():
                yield from references(item)
        elif isinstance(value, list):
            for item in value:
                yield from references(item)

    names = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(references(document)) == names


@pytest.mark.parametrize("path", ["/detect", "/explain"])
@pytest.mark.parametrize("faces", ["auto", "all", "none"])
@pytest.mark.parametrize(
    "data", [scene(), picture_of(0), b"no picture", b""], ids=["face", "flat", "text", "empty"]
)
def test_pictures(client: httpx.Client, document: dict[str, Any], path: str, faces: str, data: bytes) -> None:
    check(document, "post", path, client.post(path, content=data, params={"faces": faces}))


def test_the_other_endpoints(client: httpx.Client, document: dict[str, Any]) -> None:
    files = [("file", ("a.png", scene())), ("file", ("b", b"x"))]
    check(document, "post", "/detect/batch", client.post("/detect/batch", files=files))
    check(document, "post", "/detect/batch", client.post("/detect/batch", content=b""))
    id = client.post("/detect", content=scene()).json()["id"]
    check(document, "post", "/feedback", client.post("/feedback", json={"id": id, "emotion": "sad"}))
    check(document, "post", "/feedback", client.post("/feedback", json={"id": id}))
    check(document, "get", "/predictions/{id}", client.get(f"/predictions/{id}"))
    check(document, "get", "/predictions/{id}", client.get("/predictions/1"))
    for path in (
        "/model", "/model/history", "/model/card", "/model/shadow", "/drift", "/about", "/livez", "/readyz",
    ):  # fmt: skip
        check(document, "get", path, client.get(path))


def test_the_standard_protocols(client: httpx.Client, document: dict[str, Any]) -> None:
    for path in ("/v2", "/v2/health/live", "/v2/health/ready"):
        check(document, "get", path, client.get(path))
    check(document, "post", "/v2/repository/index", client.post("/v2/repository/index"))
    check(document, "post", "/v2/repository/index", client.post("/v2/repository/index", content=b"{"))
    live = client.get("/model").json()["live"]
    model, of_model = "/v2/models/{name}", f"/v2/models/{live['name']}"
    for rest in ("", "/ready"):
        check(document, "get", model + rest, client.get(of_model + rest))
    check(document, "get", model, client.get("/v2/models/unknown"))
    shape = client.get(of_model).json()["inputs"][0]["shape"]
    pixels = np.zeros((1, *shape[1:]), np.uint8)
    tensor = {"name": "image", "datatype": "UINT8", "shape": pixels.shape, "data": pixels.ravel().tolist()}
    texts = [{"name": "probabilities", "parameters": {"classification": 2}}]
    for request in ({"inputs": [tensor]}, {"inputs": [tensor], "id": "7", "outputs": texts}, {}):
        check(document, "post", f"{model}/infer", client.post(f"{of_model}/infer", json=request))
    for pictures in (pixels, pixels[:0]):
        answer = client.post("/invocations", json={"inputs": pictures.tolist()})
        check(document, "post", "/invocations", answer)


def test_an_answer_with_an_undeclared_key_is_noticed(client: httpx.Client, document: dict[str, Any]) -> None:
    answer = client.get("/readyz")
    other = httpx.Response(200, headers=answer.headers, json=answer.json() | {"mood": "good"})
    with pytest.raises(ValidationError, match="mood"):
        check(document, "get", "/readyz", other)
