"""OpenAPI descriptions of the endpoints: parameters, bodies, responses, problems."""

from __future__ import annotations

from serving.http.components import EXAMPLE_ID, Schema, ref
from serving.http.operations import ACCESS as _ACCESS
from serving.http.operations import BODY as _BODY
from serving.http.operations import Operation
from serving.http.operations import json_answer as _json
from serving.http.operations import operation as _operation

_QUERY: list[Schema] = [
    {
        "name": "faces",
        "in": "query",
        "schema": {"type": "string", "enum": ["auto", "all", "none"], "default": "auto"},
        "description": "`auto`: every face, or the whole picture without a face. `all`: faces only. "
        "`none`: the whole picture is treated as one face.",
    },
    {
        "name": "min_probability",
        "in": "query",
        "schema": {"type": "number", "minimum": 0, "maximum": 1, "default": 0},
        "description": "Below this probability the emotion is null.",
    },
]
_ID: Schema = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
    "description": "Id of an answer.",
    "example": EXAMPLE_ID,
}
_LIMIT: Schema = {
    "name": "limit",
    "in": "query",
    "schema": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
}
_FILE: Schema = {"type": "string", "format": "binary", "description": "JPEG, PNG, WebP or BMP."}
_FORM: Schema = {"type": "object", "properties": {"file": _FILE}, "required": ["file"]}
_PICTURE: Schema = {
    "required": True,
    "content": {
        "multipart/form-data": {"schema": _FORM},
        **{f"image/{kind}": {"schema": _FILE} for kind in ("jpeg", "png", "webp", "bmp")},
    },
}
_PICTURES: Schema = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {"file": {"type": "array", "items": _FILE, "minItems": 1}},
                "required": ["file"],
            }
        }
    },
}
_PICTURE_PROBLEMS = (*_ACCESS, *_BODY, 422, 503)


# Operations that take an answer's id; in a reference `~1` is a slash (RFC 6901).
_LINKS: Operation = {
    "prediction": {
        "operationRef": "#/paths/~1predictions~1{id}/get",
        "parameters": {"id": "$response.body#/id"},
        "description": "The stored answer and its lineage.",
    },
    "deletion": {
        "operationRef": "#/paths/~1predictions~1{id}/delete",
        "parameters": {"id": "$response.body#/id"},
        "description": "Delete the answer.",
    },
}
DETECT = _operation(
    {200: {**_json("Detection", "The faces and their emotions."), "links": _LINKS}},
    problems=_PICTURE_PROBLEMS,
    parameters=_QUERY,
    body=_PICTURE,
)
DETECT_BATCH = _operation(
    {200: _json("Batch", "One result or one problem for each file, in order.")},
    problems=(*_ACCESS, *_BODY, 503),
    parameters=_QUERY,
    body=_PICTURES,
)
_explained = _json("Explanation", "The faces, their emotions and heatmaps.")
_explained["content"]["image/png"] = {"schema": {"type": "string", "format": "binary"}}
EXPLAIN = _operation(
    {200: {**_explained, "links": _LINKS}},
    problems=(*_PICTURE_PROBLEMS, 406),
    parameters=_QUERY,
    body=_PICTURE,
)
STREAM = _operation(
    {101: {"description": "A WebSocket; see docs/api.md."}},
    problems=(*_ACCESS, 426),
    status=101,
)
FEEDBACK = _operation(
    {200: _json("FeedbackStored", "The feedback is stored.")},
    problems=(*_ACCESS, *_BODY, 404, 503),
    body={"required": True, "content": {"application/json": {"schema": ref("Feedback")}}},
)
PREDICTION = _operation(
    {200: _json("Prediction", "The answer and its lineage.")},
    problems=(*_ACCESS, 404, 503),
    parameters=[_ID],
)
PREDICTION_DELETE = _operation(
    {204: {"description": "The answer is deleted."}},
    problems=(*_ACCESS, 404, 503),
    parameters=[_ID],
    status=204,
)
MODEL = _operation({200: _json("Model", "The live model, or why none is live.")}, problems=_ACCESS)
SHADOW = _operation(
    {
        200: {
            "description": "Agreement of the shadow, or `enabled: false`.",
            "content": {"application/json": {"schema": {"oneOf": [ref("Shadow"), ref("ShadowOff")]}}},
        }
    },
    problems=_ACCESS,
)
HISTORY = _operation(
    {200: _json("History", "Switches, newest first.")},
    problems=(*_ACCESS, 400, 503),
    parameters=[_LIMIT],
)
DRIFT = _operation({200: _json("Drift", "The newest drift result.")}, problems=_ACCESS)
DRIFT_REPORT = _operation(
    {
        200: {
            "description": "Evidently's page, without external resources.",
            "content": {"text/html": {"schema": {"type": "string"}}},
        }
    },
    problems=(*_ACCESS, 404, 503),
)
LIVEZ = _operation({200: _json("Status", "The process answers.")}, problems=())
READYZ = _operation({200: _json("Status", "A model is live.")}, problems=(503,))
METRICS = _operation(
    {200: {"description": "Prometheus' text format.", "content": {"text/plain": {}}}}, problems=_ACCESS
)
