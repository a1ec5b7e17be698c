"""JSON Schemas of the standard protocols' bodies, as far as they do not depend on the model."""

from __future__ import annotations

from typing import Any

from serving.contract import IMAGE, OUTPUTS
from serving.http.openapi.components import Schema, ref

_TEXT: Schema = {"type": "string"}
_PARAMETERS: Schema = {
    "type": "object",
    "additionalProperties": {"type": ["string", "number", "boolean"]},
}
_SHAPE: Schema = {"type": "array", "items": {"type": "integer"}}
_PICTURE_TENSOR: Schema = {
    "description": "[H, W, 3] of whole numbers from 0 to 255, nested or flat, or a picture's file in base64.",
    "anyOf": [{"type": "array"}, {"type": "string", "contentEncoding": "base64"}],
}
_PICTURE_TENSORS: Schema = {"type": "array", "items": _PICTURE_TENSOR, "minItems": 1}
_ROW: Schema = {"type": "object", "properties": {IMAGE: _PICTURE_TENSOR}, "required": [IMAGE]}
_ROWS: Schema = {"type": "array", "items": _ROW, "minItems": 1}


def _object(properties: Schema, *required: str, **more: Any) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required), **more}


def _tensor_object(name: Schema, datatype: Schema, **more: Any) -> Schema:
    properties = {"name": name, "datatype": datatype, "shape": _SHAPE}
    return _object({**properties, **more}, *properties)


_INFER_INPUT = _tensor_object(
    {"const": IMAGE},
    {"const": "UINT8"},
    data={"type": "array", "description": "Nested as the shape says, or flat and row-major."},
    parameters={
        **_PARAMETERS,
        "properties": {
            "binary_data_size": {
                "type": "integer",
                "description": "Length of the tensor's bytes after the JSON, in place of data.",
            }
        },
    },
)
_INFER_INPUT["properties"]["shape"] = {
    "type": "array",
    "description": "[n, H, W, 3] as the model's metadata says.",
    "prefixItems": [{"type": "integer", "minimum": 1}]
    + [{"type": "integer", "minimum": 1}] * 2
    + [{"const": 3}],
    "minItems": 4,
    "maxItems": 4,
}
_INFER_OUTPUT = _object(
    {
        "name": {"enum": list(OUTPUTS)},
        "parameters": {
            **_PARAMETERS,
            "properties": {
                "binary_data": {
                    "type": "boolean",
                    "description": "Return the tensor as bytes after the JSON.",
                },
                "classification": {
                    "type": "integer",
                    "minimum": 0,
                    "description": "Of `probabilities`: number of `value:index:label` texts instead.",
                },
            },
        },
    },
    "name",
)

COMPONENTS: dict[str, Schema] = {
    "ServerMetadata": _object(
        {"name": _TEXT, "version": _TEXT, "extensions": {"type": "array", "items": _TEXT}},
        *("name", "version", "extensions"),
    ),
    "Live": _object({"live": {"type": "boolean"}}, "live"),
    "Ready": _object({"name": _TEXT, "ready": {"type": "boolean"}}, "ready"),
    "ModelMetadata": _object(
        {
            "name": _TEXT,
            "versions": {"type": "array", "items": _TEXT},
            "platform": _TEXT,
            "inputs": {"type": "array", "items": _tensor_object(_TEXT, _TEXT)},
            "outputs": {"type": "array", "items": _tensor_object(_TEXT, _TEXT)},
        },
        *("name", "versions", "platform", "inputs", "outputs"),
    ),
    "RepositoryIndex": {
        "type": "array",
        "items": _object(
            {"name": _TEXT, "version": _TEXT, "state": _TEXT, "reason": _TEXT}, *("name", "version", "state")
        ),
    },
    "InferRequest": _object(
        {
            "id": {"type": "string", "description": "Repeated in the response."},
            "parameters": {
                **_PARAMETERS,
                "properties": {
                    "binary_data_output": {"type": "boolean", "default": False},
                    "record": {
                        "type": "boolean",
                        "default": True,
                        "description": "Whether the answers become observations.",
                    },
                },
            },
            "inputs": {"type": "array", "items": _INFER_INPUT, "minItems": 1, "maxItems": 1},
            "outputs": {"type": "array", "items": _INFER_OUTPUT, "maxItems": len(OUTPUTS)},
        },
        "inputs",
        # The JSON before the tensor's bytes; with the values it would be pages long.
        example={
            "id": "42",
            "inputs": [
                {
                    "name": IMAGE,
                    "shape": [1, 64, 64, 3],
                    "datatype": "UINT8",
                    "parameters": {"binary_data_size": 12288},
                }
            ],
            "outputs": [{"name": "probabilities", "parameters": {"binary_data": True}}],
        },
    ),
    "InferAnswer": _object(
        {
            "model_name": _TEXT,
            "model_version": _TEXT,
            "id": _TEXT,
            "parameters": {
                **_PARAMETERS,
                "description": "`sha256` of the model; `ids` of the observations, separated by commas.",
            },
            "outputs": {
                "type": "array",
                "items": _tensor_object(
                    {"enum": list(OUTPUTS)},
                    {"enum": ["FP32", "BYTES"]},
                    data={"type": "array"},
                    parameters=_PARAMETERS,
                ),
            },
        },
        *("model_name", "model_version", "parameters", "outputs"),
        example={
            "model_name": "emotion",
            "model_version": "3",
            "id": "42",
            "parameters": {"sha256": "5e" * 32, "ids": "019ab0de4f5c7c3a9d0b5e6f7a8b9c0d"},
            "outputs": [
                {"name": "probabilities", "datatype": "FP32", "shape": [1, 3], "data": [0.009, 0.941, 0.05]}
            ],
        },
    ),
    "InferProblem": {
        "allOf": [ref("Problem"), _object({"error": _TEXT}, "error")],
        "description": "RFC 9457, with the protocol's own `error`, which is the same as `detail`.",
    },
    "Invocation": {
        "description": "Exactly one of the four formats.",
        "type": "object",
        "properties": {
            "inputs": {"anyOf": [_PICTURE_TENSORS, _object({IMAGE: _PICTURE_TENSORS}, IMAGE)]},
            "instances": {"anyOf": [_PICTURE_TENSORS, _ROWS]},
            "dataframe_records": _ROWS,
            "dataframe_split": _object(
                {
                    "columns": {"type": "array", "contains": {"const": IMAGE}, "maxContains": 1},
                    "data": {"type": "array", "items": {"type": "array"}, "minItems": 1},
                    "index": {"type": "array"},
                },
                *("columns", "data"),
                additionalProperties=False,
            ),
            "params": {
                "type": "object",
                "properties": {
                    "faces": {"enum": ["auto", "none"], "default": "auto"},
                    "record": {"type": "boolean", "default": True},
                },
            },
        },
        "oneOf": [
            {"required": [name]} for name in ("inputs", "instances", "dataframe_records", "dataframe_split")
        ],
    },
    "Predictions": _object(
        {
            "predictions": _object(
                {name: {"type": "array", "items": {"type": "array"}} for name in OUTPUTS}, *OUTPUTS
            )
        },
        "predictions",
    ),
    "ScoringProblem": {
        "allOf": [ref("Problem"), _object({"error_code": _TEXT, "message": _TEXT}, "error_code", "message")],
        "description": "RFC 9457, with the members of MLflow's errors.",
    },
}
