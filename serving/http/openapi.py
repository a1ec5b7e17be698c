"""The OpenAPI document, made from the types that are written to the wire.

Every JSON answer is described by the type that its handler writes: a dataclass beside the route, or a
TypedDict that the checker compares with what fills it. Written by hand are the parameters, beside the routes,
and the bodies of requests that this service reads without types. A test validates real answers against the
document.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from serving.contract import IMAGE, NOVELTY, OUTPUTS
from serving.detection import bodies
from serving.http.problems import EXAMPLE_PROBLEM, InferProblem, Problem, ScoringProblem
from serving.protocols import bodies as protocol_bodies

_PROBLEMS = (Problem, InferProblem, ScoringProblem)
_EXAMPLES = {**bodies.EXAMPLES, **protocol_bodies.EXAMPLES, "Problem": EXAMPLE_PROBLEM}


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of an application."""
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    # Problems have a media type of their own, which FastAPI's `model` cannot say.
    problems = {kind.__name__: TypeAdapter(kind).json_schema() for kind in _PROBLEMS}
    schemas = {
        name: _without_titles(schema)
        for name, schema in (document["components"]["schemas"] | problems).items()
    }
    for name, example in _EXAMPLES.items():
        schemas[name]["example"] = example
    document["components"] = {
        "schemas": {**schemas, **_REQUESTS},
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer"},
            "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        },
    }
    # Keys are required only if some are configured.
    document["security"] = [{}, {"bearer": []}, {"header": []}]
    return document


def _without_titles(schema: Any) -> Any:
    """Remove the titles that pydantic derives from the names of types and fields."""
    if isinstance(schema, list):
        return [_without_titles(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    # A text: the value of a key `title` that is a schema belongs to a field of this name.
    return {
        name: _without_titles(value)
        for name, value in schema.items()
        if name != "title" or not isinstance(value, str)
    }


_Schema = Mapping[str, object]
_PARAMETERS: _Schema = {
    "type": "object",
    "additionalProperties": {"type": ["string", "number", "boolean"]},
}
_INFER_INPUT: _Schema = {
    "type": "object",
    "properties": {
        "name": {"const": IMAGE},
        "datatype": {"const": "UINT8"},
        "shape": {
            "type": "array",
            "description": "[n, H, W, 3] as the model's metadata says.",
            "prefixItems": [*[{"type": "integer", "minimum": 1}] * 3, {"const": 3}],
            "minItems": 4,
            "maxItems": 4,
        },
        "data": {"type": "array", "description": "Nested as the shape says, or flat and row-major."},
        "parameters": {
            **_PARAMETERS,
            "properties": {
                "binary_data_size": {
                    "type": "integer",
                    "description": "Length of the tensor's bytes after the JSON, in place of data.",
                }
            },
        },
    },
    "required": ["name", "datatype", "shape"],
}
_INFER_OUTPUT: _Schema = {
    "type": "object",
    "properties": {
        "name": {"enum": [*OUTPUTS, NOVELTY]},
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
    "required": ["name"],
}
_INFER_REQUEST: _Schema = {
    "type": "object",
    "properties": {
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
        "outputs": {"type": "array", "items": _INFER_OUTPUT, "maxItems": len(OUTPUTS) + 1},
    },
    "required": ["inputs"],
    # The JSON before the tensor's bytes; with the values it would be pages long.
    "example": {
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
}
_PICTURE_TENSOR: _Schema = {
    "description": "[H, W, 3] of whole numbers from 0 to 255, nested or flat, or a picture's file in base64.",
    "anyOf": [{"type": "array"}, {"type": "string", "contentEncoding": "base64"}],
}
_PICTURE_TENSORS: _Schema = {"type": "array", "items": _PICTURE_TENSOR, "minItems": 1}
_ROW: _Schema = {"type": "object", "properties": {IMAGE: _PICTURE_TENSOR}, "required": [IMAGE]}
_ROWS: _Schema = {"type": "array", "items": _ROW, "minItems": 1}
_COLUMNS: _Schema = {"type": "object", "properties": {IMAGE: _PICTURE_TENSORS}, "required": [IMAGE]}
_INVOCATION: _Schema = {
    "description": "Exactly one of the four formats.",
    "type": "object",
    "properties": {
        "inputs": {"anyOf": [_PICTURE_TENSORS, _COLUMNS]},
        "instances": {"anyOf": [_PICTURE_TENSORS, _ROWS]},
        "dataframe_records": _ROWS,
        "dataframe_split": {
            "type": "object",
            "properties": {
                "columns": {"type": "array", "contains": {"const": IMAGE}, "maxContains": 1},
                "data": {"type": "array", "items": {"type": "array"}, "minItems": 1},
                "index": {"type": "array"},
            },
            "required": ["columns", "data"],
            "additionalProperties": False,
        },
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
}
_REQUESTS = {"InferRequest": _INFER_REQUEST, "Invocation": _INVOCATION}
