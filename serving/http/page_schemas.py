"""OpenAPI descriptions of the endpoints for the page; as `serving.http.schemas`."""

from __future__ import annotations

from serving.http.components import Schema
from serving.http.operations import ACCESS, json_answer, operation

_DAYS: Schema = {"type": "number", "exclusiveMinimum": 0}
_COUNT: Schema = {"type": "integer", "minimum": 1}
_RATE: Schema = {"type": "number", "exclusiveMinimum": 0}
_TEXT_OR_NULL: Schema = {"anyOf": [{"type": "string"}, {"type": "null"}]}


def _object(properties: Schema, **more: str) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties), **more}


COMPONENTS: dict[str, Schema] = {
    "About": _object(
        {
            "access": {
                "enum": ["given", "key", "closed"],
                "description": "Whether this client is answered: yes, with a key, not from this address.",
            },
            "kept": _object(
                {
                    "observations_days": {
                        **_DAYS,
                        "description": "Retention of observations, days.",
                    },
                    "pictures_fraction": {
                        "type": "number",
                        "minimum": 0,
                        "maximum": 1,
                        "description": "Fraction of the pictures that are kept; 0: none.",
                    },
                    "pictures_days": {**_DAYS, "description": "Retention of kept pictures, days."},
                }
            ),
            "limits": _object(
                {
                    "bytes": _COUNT,
                    "pixels": _COUNT,
                    "faces": _COUNT,
                    "formats": {"type": "array", "items": {"type": "string"}},
                },
                description="Limits of one picture.",
            ),
            "stream": _object({"frames_per_s": _RATE, "observations_per_s": _RATE}),
        }
    ),
    "ModelCard": _object(
        {
            "version": {"type": "string"},
            "sha256": {"type": "string"},
            "card": {**_TEXT_OR_NULL, "description": "Markdown; null if the model has none."},
            "metrics": {
                "anyOf": [{"type": "object"}, {"type": "null"}],
                "description": "Metrics of the test pictures; null if the model has none.",
            },
        }
    ),
}
ABOUT = operation({200: json_answer("About", "Retention, limits and access.")}, problems=())
MODEL_CARD = operation(
    {200: json_answer("ModelCard", "The live model's card and test metrics.")},
    problems=(*ACCESS, 503),
)
