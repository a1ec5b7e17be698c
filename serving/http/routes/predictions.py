"""GET and DELETE /predictions/{id}: an earlier answer with its lineage; POST /feedback: true emotions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, with_config
from starlette.requests import Request
from starlette.responses import Response

from serving.detection.bodies import (
    EXAMPLE_ID,
    Area,
    Count,
    Fraction,
    Id,
    NotNegative,
    Sha256,
    Size,
    Time,
    iso_time,
)
from serving.detection.responses import area_json, is_id
from serving.errors.requests import BadRequest, NotFound
from serving.http.endpoint import ACCESS, BODY, Answer, Dependencies, Routes, Schema, documented
from serving.http.request.body import json_response, read_json
from serving.observations.records import Observation, StoredObservation

routes = Routes("observations")
ID_PARAMETER: Schema = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
    "description": "Id of an answer.",
    "example": EXAMPLE_ID,
}
FaceIndex = Annotated[
    int,
    Field(ge=0, description="Index in the answer's `faces`; 0: the largest face, or the whole picture."),
]


@with_config(
    ConfigDict(extra="forbid", json_schema_extra={"example": {"id": EXAMPLE_ID, "emotion": "surprise"}})
)
@dataclass(frozen=True, kw_only=True, slots=True)
class Feedback:
    """The true emotion of a face of an earlier answer."""

    id: Id
    emotion: Annotated[str, Field(min_length=1)]
    face: FaceIndex = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedbackStored:
    """The feedback is stored."""

    id: Id
    face: FaceIndex
    emotion: str
    predicted: str


@dataclass(frozen=True, kw_only=True, slots=True)
class InputStatistics:
    """Statistics of the network's input."""

    brightness: NotNegative
    contrast: NotNegative
    sharpness: NotNegative


@dataclass(frozen=True, kw_only=True, slots=True)
class AnsweringModel:
    """The model that gave an earlier answer."""

    name: str | None
    version: str
    sha256: Sha256


@dataclass(frozen=True, kw_only=True, slots=True)
class OtherFace:
    """The answer to a face beside the largest."""

    face: FaceIndex
    box: Area
    emotion: str
    probability: Fraction
    feedback: str | None
    """The true emotion of the last feedback."""


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """The answer and its lineage."""

    id: Id
    time: Time
    emotion: str
    probability: Fraction
    probabilities: Mapping[str, Fraction]
    """Probability of every emotion, in the model's order; the sum is 1."""
    entropy: NotNegative
    """Nats."""
    novelty: float | None
    """The larger, the less the picture is like those of the training; null if the model does not say."""
    faces: Count
    box: Area | None
    whole_image: bool
    image: Size
    input: InputStatistics
    feedback: str | None
    """The true emotion of the last feedback on the largest face, or on the whole picture."""
    other_faces: Sequence[OtherFace]
    """The faces from the second on, largest first."""
    picture_kept: bool
    model: AnsweringModel
    lineage: Mapping[str, Any] | None
    """MLflow run, git commit, dataset hash and more."""


@routes.add(
    "GET", "/predictions/{id}", answer=Prediction, problems=(*ACCESS, 404, 503), parameters=[ID_PARAMETER]
)
async def prediction(request: Request) -> Response:
    """The answer and its lineage: model version → MLflow run → git commit → dataset hash."""
    dependencies: Dependencies = request.state.dependencies
    return json_response(_body(await dependencies.recorder.observation(path_id(request))))


@routes.add(
    "DELETE",
    "/predictions/{id}",
    scope="admin",
    answer=Answer(status=204, text="The answer is deleted."),
    problems=(*ACCESS, 404, 503),
    parameters=[ID_PARAMETER],
)
async def delete_prediction(request: Request) -> Response:
    """Delete an answer, its feedback and its picture, if it was kept."""
    dependencies: Dependencies = request.state.dependencies
    await dependencies.recorder.delete(path_id(request))
    return Response(status_code=204)


def path_id(request: Request) -> str:
    """Return the id in the path.

    Raises:
        NotFound: it is not the id of an answer.
    """
    id: str = request.path_params["id"]
    if not is_id(id):
        raise NotFound(f"{id[:40]!r} is not the id of an answer, which has 32 hexadecimal digits")
    return id


def _body(recorded: StoredObservation) -> Prediction:
    seen, model = recorded.observation, recorded.model
    probabilities = [round(float(value), 6) for value in recorded.probabilities()]
    classes = model.classes if model else tuple(str(index) for index in range(len(probabilities)))
    return Prediction(
        id=seen.id,
        time=iso_time(seen.time),
        emotion=seen.predicted,
        probability=round(seen.confidence, 6),
        probabilities=dict(zip(classes, probabilities, strict=True)),
        entropy=round(seen.entropy, 6),
        novelty=None if seen.novelty is None else round(seen.novelty, 6),
        faces=seen.faces,
        box=area_json(seen.box) if seen.box else None,
        whole_image=seen.box is None,
        image={"width": seen.width, "height": seen.height},
        input=InputStatistics(
            brightness=round(seen.brightness, 6),
            contrast=round(seen.contrast, 6),
            sharpness=round(seen.sharpness, 6),
        ),
        feedback=recorded.feedback,
        other_faces=[
            OtherFace(
                face=index,
                box=area_json(face.box),
                emotion=face.predicted,
                probability=round(face.confidence, 6),
                feedback=recorded.true_emotions.get(index),
            )
            for index, face in enumerate(seen.other_faces, 1)
        ],
        picture_kept=seen.picture is not None,
        model=AnsweringModel(
            name=model.name if model else None, version=seen.model_version, sha256=seen.model_sha256
        ),
        lineage=dict(model.lineage) if model else None,
    )


@routes.add(
    "POST",
    "/feedback",
    answer=FeedbackStored,
    problems=(*ACCESS, *BODY, 404, 503),
    body={"required": True, "content": {"application/json": {"schema": TypeAdapter(Feedback).json_schema()}}},
)
async def feedback(request: Request) -> Response:
    """Store the true emotion of a face; a later feedback on the same face replaces an earlier one."""
    dependencies: Dependencies = request.state.dependencies
    given = _checked(await read_json(request))
    recorded = await dependencies.recorder.observation(given.id)
    classes = recorded.model.classes if recorded.model else ()
    if classes and given.emotion not in classes:
        raise BadRequest(f"emotion is {given.emotion[:40]!r}, the model knows {', '.join(classes)}")
    predicted = _predicted(recorded.observation, given.face)
    await dependencies.recorder.feedback(given.id, given.emotion, face=given.face)
    dependencies.metrics.feedback(given.emotion)
    return json_response(
        FeedbackStored(id=given.id, face=given.face, emotion=given.emotion, predicted=predicted)
    )


def _predicted(seen: Observation, face: int) -> str:
    """Return what was predicted for a face.

    Raises:
        BadRequest: the answer has no such face.
    """
    predicted = [seen.predicted, *(other.predicted for other in seen.other_faces)]
    if face >= len(predicted):
        last = len(predicted) - 1
        expected = f"0 to {last}" if last else "0, its only one"
        raise BadRequest(
            f"face is {face}, expected an index in the answer's faces: {expected}; "
            "without face, feedback is on the largest one or the whole picture"
        )
    return predicted[face]


def _checked(body: dict[str, Any]) -> Feedback:
    if not {"id", "emotion"} <= set(body) <= {"id", "emotion", "face"}:
        raise BadRequest(
            f"the keys are {sorted(map(str, body))[:8]}, expected id and emotion, and face if it is not the "
            "largest one"
        )
    emotion, face = body["emotion"], body.get("face", 0)
    if not isinstance(emotion, str) or not emotion:
        raise BadRequest("emotion is not a non-empty text")
    if type(face) is not int or face < 0:
        raise BadRequest("face is not an index in the answer's faces: a whole number, 0 for the largest one")
    return Feedback(id=checked_id(body["id"]), emotion=emotion, face=face)


def checked_id(value: Any) -> str:
    """Return an id of a JSON body.

    Raises:
        BadRequest: it is not the id of an answer.
    """
    if not isinstance(value, str) or not is_id(value):
        raise BadRequest("id is not one of an answer: 32 hexadecimal digits")
    return value
