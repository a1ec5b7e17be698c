"""GET and DELETE /predictions/{id}: an earlier answer with its lineage; POST /feedback: its true emotion."""

from __future__ import annotations

from collections.abc import Mapping
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
from serving.observations.records import StoredObservation

routes = Routes("observations")
ID_PARAMETER: Schema = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
    "description": "Id of an answer.",
    "example": EXAMPLE_ID,
}


@with_config(
    ConfigDict(extra="forbid", json_schema_extra={"example": {"id": EXAMPLE_ID, "emotion": "surprise"}})
)
@dataclass(frozen=True, kw_only=True, slots=True)
class Feedback:
    """The true emotion of an earlier answer."""

    id: Id
    emotion: Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedbackStored:
    """The feedback is stored."""

    id: Id
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
    """The true emotion of the last feedback."""
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
    """Store the true emotion; a later feedback replaces an earlier one."""
    dependencies: Dependencies = request.state.dependencies
    id, emotion = _checked(await read_json(request))
    recorded = await dependencies.recorder.observation(id)
    classes = recorded.model.classes if recorded.model else ()
    if classes and emotion not in classes:
        raise BadRequest(f"emotion is {emotion[:40]!r}, the model knows {', '.join(classes)}")
    await dependencies.recorder.feedback(id, emotion)
    dependencies.metrics.feedback(emotion)
    predicted = recorded.observation.predicted
    return json_response(FeedbackStored(id=id, emotion=emotion, predicted=predicted))


def _checked(body: dict[str, Any]) -> tuple[str, str]:
    if set(body) != {"id", "emotion"}:
        raise BadRequest(f"the keys are {sorted(map(str, body))[:8]}, expected exactly id and emotion")
    id, emotion = body["id"], body["emotion"]
    if not isinstance(emotion, str) or not emotion:
        raise BadRequest("emotion is not a non-empty text")
    return checked_id(id), emotion


def checked_id(value: Any) -> str:
    """Return an id of a JSON body.

    Raises:
        BadRequest: it is not the id of an answer.
    """
    if not isinstance(value, str) or not is_id(value):
        raise BadRequest("id is not one of an answer: 32 hexadecimal digits")
    return value
