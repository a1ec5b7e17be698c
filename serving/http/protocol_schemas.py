"""OpenAPI descriptions of the standard protocols' endpoints; as `serving.http.schemas`."""

from __future__ import annotations

from collections.abc import Iterable

from serving.http.components import Schema, ref
from serving.http.operations import ACCESS, BODY, Operation, json_answer, operation
from serving.protocols.tensors import LENGTH_HEADER


def _path(name: str, description: str) -> Schema:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": {"type": "string"},
        "description": description,
    }


_NAME = _path("name", "Name of the live model, see /model.")
_VERSION = _path("version", "Version of the live model.")
_LENGTH: Schema = {
    "name": LENGTH_HEADER,
    "in": "header",
    "schema": {"type": "integer", "minimum": 0},
    "description": "Bytes of the JSON before the tensor's bytes; 0: the body has only the tensor's bytes.",
}
_BINARY: Schema = {"schema": {"type": "string", "format": "binary"}}


def _v2(
    answer: Operation,
    *,
    problems: Iterable[int] = (),
    parameters: list[Schema] | None = None,
    body: Schema | None = None,
) -> Operation:
    return operation(
        {200: answer}, problem="InferProblem", problems=problems, parameters=parameters, body=body
    )


_INFER_BODY: Schema = {
    "required": True,
    "content": {"application/json": {"schema": ref("InferRequest")}, "application/octet-stream": _BINARY},
}
_answered = json_answer("InferAnswer", "The outputs.")
_answered["content"]["application/octet-stream"] = _BINARY
_INDEX_FILTER: Schema = {"type": "object", "properties": {"ready": {"type": "boolean"}}}
_METADATA = json_answer("ModelMetadata", "Tensors of the model.")
_READY = json_answer("Ready", "The model is live.")
_MODEL_PROBLEMS = (*ACCESS, 404, 503)
_INFER_PROBLEMS = (*_MODEL_PROBLEMS, *BODY)

SERVER = _v2(json_answer("ServerMetadata", "Name, version and extensions of the server."), problems=ACCESS)
LIVE = _v2(json_answer("Live", "The process runs."))
READY = _v2(_READY, problems=(503,))
INDEX = _v2(
    json_answer("RepositoryIndex", "The live model."),
    problems=(*ACCESS, *BODY, 503),
    body={"content": {"application/json": {"schema": _INDEX_FILTER}}},
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
    return operation({200: answer}, problem="ScoringProblem", problems=problems, body=body)


def _text(description: str) -> Operation:
    return {"description": description, "content": {"text/plain": {"schema": {"type": "string"}}}}


INVOCATIONS = _scoring(
    json_answer("Predictions", "Predictions for every picture, in order."),
    problems=(*ACCESS, *BODY, 422, 503),
    body={"required": True, "content": {"application/json": {"schema": ref("Invocation")}}},
)
PING = _scoring(_text("A model is live."), problems=(503,))
HEALTH = _scoring(_text("A model is live."), problems=(503,))
VERSION = _scoring(_text("MLflow's version."), problems=ACCESS)
