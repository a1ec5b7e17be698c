"""The JSON of answers to pictures, as types: `responses` writes it, the OpenAPI document describes it.

Answers are written without objects, for speed: a TypedDict is a dict for the program, a type for the checker
and a JSON Schema for pydantic. All endpoints use the constrained types at the top.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import (
    Annotated,
    Literal,
    NotRequired,  # pydantic takes typing's own from Python 3.12 on
)

from pydantic import Field
from typing_extensions import TypedDict

Id = Annotated[str, Field(pattern="^[0-9a-f]{32}$", description="Sorts by time.")]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Fraction = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
Length = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Probabilities = Annotated[
    dict[str, Fraction],
    Field(description="Probability of every emotion, in the model's order; the sum is 1."),
]


def iso_time(time_s: float) -> str:
    """Return a Unix time as ISO 8601 in UTC, with milliseconds: a `Time`."""
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="milliseconds")


EXAMPLE_ID = "019ab0de4f5c7c3a9d0b5e6f7a8b9c0d"


class Area(TypedDict):
    """A rectangle in px of the upright picture; may reach beyond it."""

    left: int
    top: int
    width: Length
    height: Length


class Size(TypedDict):
    """Size of the upright picture, px."""

    width: Length
    height: Length


class Timings(TypedDict):
    """Milliseconds of one request's parts."""

    queue: NotNegative
    decode: NotNegative
    faces: NotNegative
    preprocess: NotNegative
    inference: NotNegative
    total: NotNegative


class ModelReference(TypedDict):
    """The model that answered."""

    name: str
    version: str
    sha256: Sha256
    sample: Annotated[bool, Field(description="Trained on drawn faces, only for demonstration.")]
    canary: NotRequired[
        Annotated[
            Literal[True],
            Field(description="The canary's candidate answered, not the live model; absent otherwise."),
        ]
    ]


class Emotion(TypedDict):
    """The model's answer to a face, or to a whole picture."""

    emotion: Annotated[str | None, Field(description="Null below `min_probability`, or without a face.")]
    probability: Annotated[Fraction | None, Field(description="Probability of the most probable emotion.")]
    probabilities: Probabilities | None
    set: NotRequired[
        Annotated[
            list[str],
            Field(
                description="Emotions of which one is the true one with probability `coverage`: at least "
                "one, most probable first; absent if the model has no threshold for them."
            ),
        ]
    ]
    coverage: NotRequired[Annotated[Fraction, Field(description="Nominal coverage of `set`.")]]
    novelty: NotRequired[
        Annotated[
            float,
            Field(
                description="The larger, the less the picture is like those of the training; of exported "
                "models the share of validation pictures that are less so. Absent if the model does not say."
            ),
        ]
    ]
    unfamiliar: NotRequired[
        Annotated[
            bool,
            Field(description="Whether `novelty` is above the threshold (`MIEN_NOVELTY_THRESHOLD`)."),
        ]
    ]


_Score = Annotated[float, Field(description="The detector's score; comparable only for one detector.")]


class Face(Emotion):
    """A face and its emotion."""

    box: Area
    score: _Score


class PossibleFace(TypedDict):
    """A place that looks somewhat like a face."""

    box: Area
    score: _Score


class Heatmap(TypedDict):
    """The heatmap of one input of the network."""

    heatmap: Annotated[
        list[list[Fraction]] | None,
        Field(description="Rows from top to bottom: how much each area supported the emotion."),
    ]
    area: Annotated[
        Area | None,
        Field(
            description="The area that the network got and the heatmap covers: the face's square, or the "
            "whole picture."
        ),
    ]


class ExplainedFace(Face, Heatmap):
    """A face, its emotion and its heatmap."""


class _Picture(Emotion):
    id: Id
    whole_image: Annotated[
        bool,
        Field(
            description="The whole picture was classified: it has no face, one face fills it, or by request."
        ),
    ]
    possible_faces: Annotated[
        list[PossibleFace],
        Field(
            description="Places that look somewhat like a face, largest first: a face may have been missed "
            "there. They are not classified. Empty with Haar's cascade, whose score does not tell."
        ),
    ]
    image: Size
    model: ModelReference
    timings_ms: Timings


class Detection(_Picture):
    """The answer to one picture: its faces and their emotions."""

    faces: Annotated[list[Face], Field(description="Largest first.")]


class Explanation(_Picture, Heatmap):
    """`heatmap` and `area` are those of the largest face, or of the whole picture."""

    faces: Annotated[list[ExplainedFace], Field(description="Largest first.")]


_EMOTION: Emotion = {
    "emotion": "happy",
    "probability": 0.941,
    "probabilities": {"angry": 0.009, "happy": 0.941, "neutral": 0.05},
    "set": ["happy"],
    "coverage": 0.9,
    "novelty": 0.41,
    "unfamiliar": False,
}
_MODEL: ModelReference = {"name": "emotion", "version": "3", "sha256": "5e" * 32, "sample": True}
_FACE: Face = {"box": {"left": 212, "top": 80, "width": 164, "height": 164}, "score": 0.93, **_EMOTION}
_HEATMAP: Heatmap = {
    "heatmap": [[0.0, 0.2], [0.4, 1.0]],
    "area": {"left": 187, "top": 55, "width": 213, "height": 213},
}
_DETECTION: Detection = {
    "id": EXAMPLE_ID,
    **_EMOTION,
    "faces": [_FACE],
    "possible_faces": [{"box": {"left": 30, "top": 96, "width": 41, "height": 41}, "score": 0.55}],
    "whole_image": False,
    "image": {"width": 640, "height": 480},
    "model": _MODEL,
    "timings_ms": {
        "queue": 0.1, "decode": 2.1, "faces": 9.8, "preprocess": 0.2, "inference": 3.4, "total": 15.9,
    },
}  # fmt: skip
_EXPLANATION: Explanation = {**_DETECTION, "faces": [{**_FACE, **_HEATMAP}], **_HEATMAP}
EXAMPLES = {"ModelReference": _MODEL, "Detection": _DETECTION, "Explanation": _EXPLANATION}
"""Examples for the OpenAPI document, by type."""
