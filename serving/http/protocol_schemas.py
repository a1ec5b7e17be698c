"""What the OpenAPI document says of the standard protocols' endpoints; as `serving.http.schemas`."""

from __future__ import annotations

from collections.abc import Iterable

from serving.http.components import Schema, ref
from serving.http.problems import MEDIA_TYPE
from serving.http.schemas import Operation, _json, _operation
from serving.protocols.binary import LENGTH_HEADER

_ACCESS = (401, 403, 429)
_BODY = (400, 408, 413, 415)


def _path(name: str, description: str) -> Schema:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": {"type": "string"},
        "description": description,
    }


_NAME = _path("name", "Of the live model, see /model.")
_VERSION = _path("version", "The live one.")
_LENGTH: Schema = {
    "name": LENGTH_HEADER,
    "in": "header",
    "schema": {"type": "integer", "minimum": 0},
    "description": "Bytes of the JSON, when the tensor's bytes follow it; 0: the body is the tensor's bytes.",
}
_BINARY: Schema = {"schema": {"type": "string", "format": "binary"}}


def _operation_of(
    answer: Operation,
    *,
    problem: str,
    problems: Iterable[int],
    parameters: list[Schema] | None = None,
    body: Schema | None = None,
) -> Operation:
    """An operation whose problems have a protocol's own members."""
    made = _operation({200: answer}, problems=problems, parameters=parameters, body=body)
    for status, response in made["responses"].items():
        if status != 200:
            response["content"] = {MEDIA_TYPE: {"schema": ref(problem)}}
    return made


def _v2(
    answer: Operation,
    *,
    problems: Iterable[int] = (),
    parameters: list[Schema] | None = None,
    body: Schema | None = None,
) -> Operation:
    return _operation_of(answer, problem="InferProblem", problems=problems, parameters=parameters, body=body)


_INFER_BODY: Schema = {
    "required": True,
    "content": {"application/json": {"schema": ref("InferRequest")}, "application/octet-stream": _BINARY},
}
_answered = _json("InferAnswer", "The outputs.")
_answered["content"]["application/octet-stream"] = _BINARY
_METADATA = _json("ModelMetadata", "Tensors of the model.")
_READY = _json("Ready", "It is live.")
_MODEL_PROBLEMS = (*_ACCESS, 404, 503)
_INFER_PROBLEMS = (*_MODEL_PROBLEMS, *_BODY)

SERVER = _v2(_json("ServerMetadata", "Of the server."), problems=_ACCESS)
LIVE = _v2(_json("Live", "The process answers."))
READY = _v2(_READY, problems=(503,))
INDEX = _v2(
    _json("RepositoryIndex", "The live model."),
    problems=(*_ACCESS, *_BODY, 503),
    body={"content": {"application/json": {"schema": {"type": "object"}}}},
)
METADATA = _v2(_METADATA, problems=_MODEL_PROBLEMS, parameters=[_NAME])
METADATA_OF_VERSION = _v2(_METADATA, problems=_MODEL_PROBLEMS, parameters=[_NAME, _VERSION])
MODEL_READY = _v2(_READY, problems=_MODEL_PROBLEMS, parameters=[_NAME])
MODEL_READY_OF_VERSION = _v2(_READY, problems=_MODEL_PROBLEMS, parameters=[_NAME, _VERSION])
INFER = _v2(_answered, problems=_INFER_PROBLEMS, parameters=[_NAME, _LENGTH], body=_INFER_BODY)
INFER_WITH_VERSION = _v2(
    _answered, problems=_INFER_PROBLEMS, parameters=[_NAME, _VERSION, _LENGTH], body=_INFER_BODY
)


def _scoring(answer: Operation, *, problems: Iterable[int] = (), body: Schema | None = None) -> Operation:
    return _operation_of(answer, problem="ScoringProblem", problems=problems, body=body)


def _text(description: str) -> Operation:
    return {"description": description, "content": {"text/plain": {"schema": {"type": "string"}}}}


INVOCATIONS = _scoring(
    _json("Predictions", "Of every picture, in order."),
    problems=(*_ACCESS, *_BODY, 422, 503),
    body={"required": True, "content": {"application/json": {"schema": ref("Invocation")}}},
)
PING = _scoring(_text("A model is live."), problems=(503,))
HEALTH = _scoring(_text("A model is live."), problems=(503,))
VERSION = _scoring(_text("MLflow's version."), problems=_ACCESS)
