"""What the OpenAPI document says of the endpoints that the page needed; as `serving.http.schemas`."""

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
                "description": "Whether whoever asks is answered: yes, with a key, or not from that address.",
            },
            "kept": _object(
                {
                    "observations_days": {
                        **_DAYS,
                        "description": "The numbers of an answer are kept that long.",
                    },
                    "pictures_fraction": {
                        "type": "number",
                        "minimum": 0,
                        "maximum": 1,
                        "description": "Of the pictures themselves; 0: none is kept.",
                    },
                    "pictures_days": {**_DAYS, "description": "Those that are kept are kept that long."},
                }
            ),
            "limits": _object(
                {
                    "bytes": _COUNT,
                    "pixels": _COUNT,
                    "faces": _COUNT,
                    "formats": {"type": "array", "items": {"type": "string"}},
                },
                description="Of one picture.",
            ),
            "stream": _object({"frames_per_s": _RATE, "observations_per_s": _RATE}),
        }
    ),
    "ModelCard": _object(
        {
            "version": {"type": "string"},
            "sha256": {"type": "string"},
            "card": {**_TEXT_OR_NULL, "description": "Markdown; null when the model came without one."},
            "metrics": {
                "anyOf": [{"type": "object"}, {"type": "null"}],
                "description": "Of the test pictures; null when the model came without them.",
            },
        }
    ),
}
ABOUT = operation({200: json_answer("About", "What a visitor should know beforehand.")}, problems=())
MODEL_CARD = operation(
    {200: json_answer("ModelCard", "What the live model is for, and on what it was measured.")},
    problems=(*ACCESS, 503),
)
