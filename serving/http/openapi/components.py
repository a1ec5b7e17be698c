"""Types and JSON Schemas that the OpenAPI document needs for several groups of endpoints.

Bodies are dataclasses, declared beside the route that sends or reads them. Those of pictures are JSON
Schemas, written by hand: `serving.detection.responses.as_json` writes them without objects, for speed. A test
validates real responses against the document.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import ConfigDict, Field, with_config

from serving.contract import Box
from serving.inference.model_slot import ModelIdentity

Schema = dict[str, Any]
Id = Annotated[str, Field(pattern="^[0-9a-f]{32}$", description="Sorts by time.")]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Fraction = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
Length = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
# The string under a field of a decorated dataclass is its description in the document.
documented = with_config(ConfigDict(use_attribute_docstrings=True))


@dataclass(frozen=True, kw_only=True, slots=True)
class Area:
    """A rectangle in px of the upright picture; may reach beyond it."""

    left: int
    top: int
    width: Length
    height: Length

    @classmethod
    def of(cls, box: Box) -> Area:
        """Return a box as an area."""
        left, top, width, height = box
        return cls(left=left, top=top, width=width, height=height)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelName:
    """A model by its name, version and digest."""

    name: str
    version: str
    sha256: Sha256

    @classmethod
    def of(cls, model: ModelIdentity) -> ModelName:
        """Return the name of a model."""
        return cls(name=model.name, version=model.version, sha256=model.sha256)


def iso_time(time_s: float) -> str:
    """Return a Unix time as ISO 8601 in UTC, with milliseconds."""
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="milliseconds")


_SHA256: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_FRACTION: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_ID: Schema = {"type": "string", "pattern": "^[0-9a-f]{32}$", "description": "Sorts by time."}
_TEXT: Schema = {"type": "string"}


def ref(name: str) -> dict[str, str]:
    """Return a reference to a component."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Schema, *, optional: tuple[str, ...] = (), **more: Any) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, **more}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _numbers(*names: str) -> Schema:
    return _object({name: {"type": "number", "minimum": 0} for name in names})


_PROBABILITIES: Schema = {
    "type": "object",
    "additionalProperties": _FRACTION,
    "description": "Probability of every emotion, in the model's order; the sum is 1.",
}
_ANSWER: Schema = {
    "emotion": {**_or_null(_TEXT), "description": "Null below `min_probability`, or without a face."},
    "probability": {**_or_null(_FRACTION), "description": "Probability of the most probable emotion."},
    "probabilities": _or_null(_PROBABILITIES),
}
_BOX = _object(
    {
        "left": {"type": "integer"},
        "top": {"type": "integer"},
        "width": {"type": "integer", "minimum": 1},
        "height": {"type": "integer", "minimum": 1},
    },
    description="In px of the upright picture; may reach beyond it.",
)
_SIZE = _object({"width": {"type": "integer", "minimum": 1}, "height": {"type": "integer", "minimum": 1}})

_EXAMPLE_ANSWER = {
    "emotion": "happy",
    "probability": 0.941,
    "probabilities": {"angry": 0.009, "happy": 0.941, "neutral": 0.05},
}
_EXAMPLE_MODEL = {"name": "emotion", "version": "3", "sha256": "5e" * 32, "sample": True}
EXAMPLE_ID = "019ab0de4f5c7c3a9d0b5e6f7a8b9c0d"
EXAMPLE_DETECTION: dict[str, Any] = {
    "id": EXAMPLE_ID,
    **_EXAMPLE_ANSWER,
    "faces": [
        {
            "box": {"left": 212, "top": 80, "width": 164, "height": 164},
            "score": 0.93,
            **_EXAMPLE_ANSWER,
        }
    ],
    "whole_image": False,
    "image": {"width": 640, "height": 480},
    "model": _EXAMPLE_MODEL,
    "timings_ms": {
        "queue": 0.1, "decode": 2.1, "faces": 9.8, "preprocess": 0.2, "inference": 3.4, "total": 15.9,
    },
}  # fmt: skip
_EXAMPLE_HEATMAP = {
    "heatmap": [[0.0, 0.2], [0.4, 1.0]],
    "area": {"left": 187, "top": 55, "width": 213, "height": 213},
}
_EXAMPLE_EXPLANATION = {
    **EXAMPLE_DETECTION,
    "faces": [{**face, **_EXAMPLE_HEATMAP} for face in EXAMPLE_DETECTION["faces"]],
    **_EXAMPLE_HEATMAP,
}
EXAMPLE_PROBLEM = {
    "type": "urn:mien:problem:image-too-large",
    "title": "Too many pixels",
    "status": 413,
    "detail": "the image has 20000×20000 = 400000000 pixels, at most 32000000 are accepted; "
    "send a smaller one",
    "request_id": EXAMPLE_ID,
}

_DETECTION: Schema = {
    "id": _ID,
    **_ANSWER,
    "faces": {"type": "array", "items": ref("Face"), "description": "Largest first."},
    "whole_image": {
        "type": "boolean",
        "description": "The whole picture was classified: it has no face, one face fills it, or by request.",
    },
    "image": {**_SIZE, "description": "The upright picture, px."},
    "model": ref("ModelReference"),
    "timings_ms": _numbers("queue", "decode", "faces", "preprocess", "inference", "total"),
}
_HEATMAP: Schema = {
    "heatmap": {
        **_or_null({"type": "array", "items": {"type": "array", "items": _FRACTION}}),
        "description": "Rows from top to bottom: how much each area supported the emotion.",
    },
    "area": {
        **_or_null(ref("Area")),
        "description": "The area that the network got and the heatmap covers: the face's square, or the "
        "whole picture.",
    },
}

COMPONENTS: dict[str, Schema] = {
    "Problem": _object(
        {
            "type": {"type": "string", "pattern": "^urn:mien:problem:[a-z-]+$"},
            "title": _TEXT,
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": {"type": "string", "description": "What was got, what was expected, what to do."},
            "request_id": _TEXT,
        },
        optional=("request_id",),
        description="RFC 9457.",
        example=EXAMPLE_PROBLEM,
    ),
    "ModelReference": _object(
        {
            "name": _TEXT,
            "version": _TEXT,
            "sha256": _SHA256,
            "sample": {"type": "boolean", "description": "Trained on drawn faces, only for demonstration."},
            "canary": {
                "const": True,
                "description": "The canary's candidate answered, not the live model; absent otherwise.",
            },
        },
        optional=("canary",),
        example=_EXAMPLE_MODEL,
    ),
    "Face": _object(
        {
            "box": _BOX,
            "score": {
                "type": "number",
                "description": "The detector's score; comparable only for one detector.",
            },
            **_ANSWER,
        }
    ),
    "Detection": _object(_DETECTION, example=EXAMPLE_DETECTION),
    "Area": _BOX,
    "ExplainedFace": {"allOf": [ref("Face"), _object(_HEATMAP)]},
    "Explanation": _object(
        {
            **_DETECTION,
            "faces": {"type": "array", "items": ref("ExplainedFace"), "description": "Largest first."},
            **_HEATMAP,
        },
        description="`heatmap` and `area` are those of the largest face, or of the whole picture.",
        example=_EXAMPLE_EXPLANATION,
    ),
    "BatchEntry": _object(
        {
            "file": {"type": "string", "description": "The client's name of the file."},
            "result": ref("Detection"),
            "problem": ref("Problem"),
        },
        optional=("result", "problem"),
        description="Either a result or a problem.",
    ),
    "Batch": _object({"results": {"type": "array", "items": ref("BatchEntry")}}),
}
