"""JSON Schemas of the response bodies for the OpenAPI document, written by hand, with examples.

The routes write responses without models, for speed; a test validates real responses against these schemas.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

_SHA256: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_FRACTION: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_ID: Schema = {"type": "string", "pattern": "^[0-9a-f]{32}$", "description": "Sorts by time."}
_TIME: Schema = {"type": "string", "format": "date-time"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_TEXT: Schema = {"type": "string"}


def ref(name: str) -> Schema:
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

_AGREEMENT: Schema = {
    "compared": {**_COUNT, "description": "Pictures that both models answered."},
    "agreed": _COUNT,
    "agreement": _or_null(_FRACTION),
    "kappa": {
        **_or_null({"type": "number", "minimum": -1, "maximum": 1}),
        "description": "Cohen's: agreement beyond chance; of one emotion, against all others.",
    },
    "mean_probability_difference": {
        **_or_null(_FRACTION),
        "description": "Total variation: half the sum of the differences of all probabilities.",
    },
}
_LATENCY: Schema = {
    **_numbers("mean", "p50", "p95"),
    "description": "Work for one picture: finding faces, preprocessing, its part of the batch's inference.",
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
    "Feedback": _object(
        {"id": _ID, "emotion": {"type": "string", "minLength": 1}},
        additionalProperties=False,
        example={"id": EXAMPLE_ID, "emotion": "surprise"},
    ),
    "FeedbackStored": _object({"id": _ID, "emotion": _TEXT, "predicted": _TEXT}),
    "Prediction": _object(
        {
            "id": _ID,
            "time": _TIME,
            "emotion": _TEXT,
            "probability": _FRACTION,
            "probabilities": _PROBABILITIES,
            "entropy": {"type": "number", "minimum": 0, "description": "Nats."},
            "faces": _COUNT,
            "box": _or_null(_BOX),
            "whole_image": {"type": "boolean"},
            "image": _SIZE,
            "input": _numbers("brightness", "contrast", "sharpness"),
            "feedback": {**_or_null(_TEXT), "description": "The true emotion of the last feedback."},
            "picture_kept": {"type": "boolean"},
            "model": _object({"name": _or_null(_TEXT), "version": _TEXT, "sha256": _SHA256}),
            "lineage": _or_null(
                {"type": "object", "description": "MLflow run, git commit, dataset hash and more."}
            ),
        }
    ),
    "Model": _object(
        {
            "live": _or_null(
                _object(
                    {
                        "name": _TEXT,
                        "version": _TEXT,
                        "sha256": _SHA256,
                        "architecture": _TEXT,
                        "weights": _TEXT,
                        "sample": {"type": "boolean"},
                        "notice": _or_null(_TEXT),
                        "since": _TIME,
                        "size_bytes": _COUNT,
                        "contract": {"type": "object"},
                        "lineage": {"type": "object"},
                    }
                )
            ),
            "reason": {"type": "string", "description": "Why this model is live, or why none is."},
            "following": {"type": "object"},
            "canary": {
                **_or_null(ref("Canary")),
                "description": "State of the canary; null if MIEN_CANARY is 0.",
            },
        }
    ),
    "Canary": _object(
        {
            "location": {"type": "string", "description": "Location of the candidate."},
            "share": _FRACTION,
            "state": {"enum": ["running", "waiting", "stopped", "paused"]},
            "reason": _TEXT,
            "model": _or_null(ref("ModelName")),
        }
    ),
    "ModelName": _object({"name": _TEXT, "version": _TEXT, "sha256": _SHA256}),
    "ShadowOff": _object({"enabled": {"const": False}, "reason": _TEXT}),
    "Shadow": _object(
        {
            "enabled": {"const": True},
            "location": _TEXT,
            "fraction": {
                **_FRACTION,
                "description": "Fraction of the answered pictures that the shadow also classifies.",
            },
            "model": _or_null(ref("ModelName")),
            "reason": {
                **_or_null(_TEXT),
                "description": "Why nothing is compared now; null while pictures are compared.",
            },
            "report": {
                **_or_null(ref("ShadowReport")),
                "description": "Report about the last compared pair of models, over all workers.",
            },
        }
    ),
    "ShadowReport": _object(
        {
            "live": ref("ModelKey"),
            "shadow": ref("ModelKey"),
            "since": _TIME,
            **_AGREEMENT,
            "emotions": {
                "type": "object",
                "additionalProperties": ref("ShadowEmotion"),
                "description": "By the live model's answer.",
            },
            "latency_ms": _object({"live": _or_null(_LATENCY), "shadow": _or_null(_LATENCY)}),
            "dropped": {**_COUNT, "description": "Sampled pictures that the shadow had no time for."},
            "failed": {**_COUNT, "description": "Pictures for which the shadow failed."},
            "last_error": _or_null(_object({"time": _TIME, "reason": _TEXT})),
        }
    ),
    "ShadowEmotion": _object(
        {
            **_AGREEMENT,
            "shadow": {
                "type": "object",
                "additionalProperties": _COUNT,
                "description": "The shadow's emotions for these pictures.",
            },
        }
    ),
    "ModelKey": _object({"version": _TEXT, "sha256": _SHA256}),
    "History": _object({"switches": {"type": "array", "items": {"type": "object"}}}),
    "Status": _object({"status": _TEXT, "model": _TEXT}, optional=("model",)),
}
