"""JSON Schemas of the drift responses for the OpenAPI document."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

_NUMBER: Schema = {"type": "number"}
_FRACTION: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_TEXT: Schema = {"type": "string"}
_TIME: Schema = {"type": "string", "format": "date-time"}


def _object(properties: Schema, **more: Any) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties), **more}


def _map(schema: Schema) -> Schema:
    return {"type": "object", "additionalProperties": schema}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


_MEASURED = _object(
    {
        "rows": _COUNT,
        "accuracy": _FRACTION,
        "accuracy_low": {**_FRACTION, "description": "95 % interval (Wilson)."},
        "accuracy_high": _FRACTION,
        "macro_f1": _FRACTION,
        "confusion": {**_map(_map(_COUNT)), "description": "True emotion → predicted → rows."},
    }
)
_COLUMN = _object(
    {
        "method": _TEXT,
        "score": {"type": "number", "minimum": 0},
        "threshold": {"type": "number", "minimum": 0},
        "drifted": {"type": "boolean"},
        "reference": {**_map(_NUMBER), "description": "Mean and deviation; of classes, their shares."},
        "window": _map(_NUMBER),
        "dropped": {**_COUNT, "description": "Values that are not numbers, left out."},
        "possible": _object(
            {"min": _or_null(_NUMBER), "max": _or_null(_NUMBER)},
            description="Bounds of the column's values, of classes of their shares; null without a bound.",
        ),
    }
)
_WINDOW = _object(
    {
        "rows": _COUNT,
        "total": {**_COUNT, "description": "An estimate when `sampled`."},
        "sampled": {"type": "boolean"},
        "since": _TIME,
        "until": _TIME,
        "pictures_per_person": {"type": "number", "minimum": 1},
    }
)
_QUALITY = _object(
    {
        "reference": _MEASURED,
        "feedback": {**_or_null(_MEASURED), "description": "Null without feedback in the window."},
        "estimated": _object(
            {
                "mean_confidence": _FRACTION,
                "atc": _FRACTION,
                "caveat": {
                    **_or_null(_TEXT),
                    "description": "Why both are unreliable while the verdict is `drift`; null otherwise.",
                },
            },
            description="The accuracy, without any feedback.",
        ),
    }
)
COMPONENTS: dict[str, Schema] = {
    "Drift": _object(
        {
            "verdict": {"type": "string", "enum": ["drift", "no drift", "unknown"]},
            "reason": _TEXT,
            "problem": {
                **_or_null(_TEXT),
                "description": "Why there is no result or no newer one; null without a problem.",
            },
            "stale": {"type": "boolean", "description": "The result is older than MIEN_DRIFT_STALE_S."},
            "model": _or_null(_object({"version": _TEXT, "sha256": _TEXT})),
            "computed_at": _or_null(_TIME),
            "age_s": _or_null({"type": "number", "minimum": 0}),
            "window": _or_null(_WINDOW),
            "reference": _or_null(_object({"rows": _COUNT, "people": _COUNT})),
            "quality": _or_null(_QUALITY),
            "columns": _map(_COLUMN),
            "left_out": {**_map(_TEXT), "description": "Columns that could not be compared, and why."},
        }
    ),
}
