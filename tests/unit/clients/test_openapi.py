"""The client's calls and answers against the service's OpenAPI document, in both directions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

import pytest

import mien_client
from mien_client import Client, answers
from mien_client.calls import Call, Faces
from mien_client.errors import Problem
from serving.http.app import create_app
from serving.http.endpoint import ref
from serving.settings import Settings

ID = "019ab0de4f5c7c3a9d0b5e6f7a8b9c0d"
CALLS: Mapping[str, Call[Any]] = {
    "detect": Client.detect(b"1"),
    "detect_batch": Client.detect_batch([b"1", b"2"]),
    "explain": Client.explain(b"1"),
    "explain_png": Client.explain_png(b"1"),
    "feedback": Client.feedback(ID, "sad"),
    "prediction": Client.prediction(ID),
    "delete_prediction": Client.delete_prediction(ID),
    "label_tasks": Client.label_tasks(),
    "label_picture": Client.label_picture(ID),
    "label": Client.label(ID, "sad"),
    "withdraw_label": Client.withdraw_label(ID),
    "labels": Client.labels(),
    "model": Client.model(),
    "model_history": Client.model_history(),
    "live": Client.live(),
    "ready": Client.ready(),
}
WITH_ALL_OPTIONS: Mapping[str, Call[Any]] = {
    "label_tasks": Client.label_tasks(limit=5, labeller="ben"),
    "label": Client.label(ID, "sad", labeller="ben"),
    "withdraw_label": Client.withdraw_label(ID, labeller="ben"),
}
"""Calls with options that are not sent unless they are given."""
ANSWERS = {
    name: kind
    for name, kind in vars(answers).items()
    if isinstance(kind, type) and is_dataclass(kind) and kind.__module__ == answers.__name__
} | {"Problem": Problem}
SCALARS: Mapping[str, Any] = {"string": str, "integer": int, "number": float, "boolean": bool}


@cache
def document() -> Any:
    return create_app(Settings()).openapi()


def schemas() -> Mapping[str, Any]:
    return dict(document()["components"]["schemas"])


def operation(call: Call[Any]) -> Any:
    return document()["paths"][call.path][call.method.lower()]


def expected(schema: Mapping[str, Any]) -> Any:
    """The annotation that a schema asks for."""
    if "$ref" in schema:
        return ANSWERS[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        value, null = schema["anyOf"]
        assert null == {"type": "null"}
        return expected(value) | None
    match schema["type"]:
        case "array":
            return tuple[expected(schema["items"]), ...]  # type: ignore[misc] # mypy reads it as a type
        case "object":
            values = schema["additionalProperties"]
            return Mapping[str, Any if values is True else expected(values)]  # type: ignore[misc] # as above
        case "string" if schema.get("format") == "date-time":
            return datetime
        case kind:
            return SCALARS[kind]


def test_every_method_has_its_call_here() -> None:
    assert set(CALLS) == {name for name in vars(Client.__mro__[2]) if not name.startswith("_")}


@pytest.mark.parametrize("name", set(ANSWERS) - {"Emotion"})  # the document has no schema for a base class
def test_fields_are_the_properties_of_the_schema(name: str) -> None:
    schema, kind = schemas()[name], ANSWERS[name]
    types = get_type_hints(kind)
    assert types.keys() == schema["properties"].keys()
    optional = {field.name for field in fields(kind) if field.default is not MISSING}
    assert types.keys() - optional == set(schema["required"])
    for property, described in schema["properties"].items():
        wanted = expected(described)
        assert types[property] == (wanted | None if property in optional else wanted), property


def test_the_guide_names_the_supported_version(repository: Path) -> None:
    guide, readme = (
        (repository / path).read_text() for path in ("docs/clients.md", "clients/python/README.md")
    )
    supported = {
        version for text in (guide, readme) for version in re.findall(r"API\s+has\s+version (\d+)", text)
    }
    assert supported == {document()["info"]["version"].partition(".")[0]}
    version = mien_client.__version__.rpartition(".")[0]
    assert all(
        re.search(rf"{re.escape(version)}\s+(is for|supports) services", text) for text in (guide, readme)
    )


def test_every_answer_is_reachable_and_every_reachable_schema_has_one() -> None:
    found: set[str] = set()
    waiting = [call.answer.__name__ for call in CALLS.values() if call.answer not in (bytes, NoneType)]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += references(schemas()[name]["properties"])
    assert found == set(ANSWERS) - {"Emotion"}


def references(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [name for item in schema for name in references(item)]
    if not isinstance(schema, dict):
        return []
    own = [schema["$ref"].rpartition("/")[2]] if isinstance(schema.get("$ref"), str) else []
    return own + [name for value in schema.values() for name in references(value)]


@pytest.mark.parametrize("name", CALLS)
def test_a_call_expects_what_the_document_promises(name: str) -> None:
    call = CALLS[name]
    promised = operation(call)["responses"]
    [success] = [status for status in promised if status.startswith("2")]
    if call.answer is NoneType:
        assert success == "204"
        return
    described = promised[success]["content"][call.accept]["schema"]
    if call.answer is bytes:
        assert described in (
            {"type": "string", "format": "binary"},
            {"type": "string", "contentMediaType": call.accept},
        )
    else:
        assert described == ref(call.answer.__name__)


@pytest.mark.parametrize("name", CALLS)
def test_a_call_sends_the_options_and_the_body_that_the_document_describes(name: str) -> None:
    call, described = CALLS[name], operation(CALLS[name])
    parameters = {item["name"]: item for item in described.get("parameters", [])}
    in_query = {key: item["schema"] for key, item in parameters.items() if item["in"] == "query"}
    assert dict(call.query) == {
        key: schema["default"] for key, schema in in_query.items() if "default" in schema
    }
    assert set(WITH_ALL_OPTIONS.get(name, call).query) == set(in_query)
    if "faces" in in_query:
        assert list(get_args(Faces)) == in_query["faces"]["enum"]
    assert ("id" in parameters) == bool(call.id)
    content = described.get("requestBody", {}).get("content", {})
    assert bool(content) == (call.picture is not None or bool(call.files) or call.json is not None)
    if call.json is not None:
        schema = content["application/json"]["schema"]
        assert set(WITH_ALL_OPTIONS.get(name, call).json or {}) == set(schema["properties"])
        defaults = {key: each["default"] for key, each in schema["properties"].items() if "default" in each}
        assert set(schema["required"]) == set(call.json) - set(defaults)
        assert {key: call.json[key] for key in defaults} == defaults
    if call.files:
        assert {field for field, _ in call.files} == set(
            content["multipart/form-data"]["schema"]["properties"]
        )
