"""GET and DELETE /predictions/{id}: an earlier answer with its lineage; POST /feedback: its true emotion."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from serving.detection.responses import is_id
from serving.errors import BadRequest, NotFound
from serving.http import schemas
from serving.http.body import json_response, read_json
from serving.http.endpoint import Dependencies, Routes
from serving.observations.records import StoredObservation

routes = Routes("observations")


@routes.add("GET", "/predictions/{id}", **schemas.PREDICTION)
async def prediction(request: Request) -> Response:
    """The answer and its lineage: model version → MLflow run → git commit → dataset hash."""
    dependencies: Dependencies = request.state.dependencies
    return json_response(_body(await dependencies.recorder.observation(_id(request))))


@routes.add("DELETE", "/predictions/{id}", scope="admin", **schemas.PREDICTION_DELETE)
async def delete_prediction(request: Request) -> Response:
    """Delete an answer, its feedback and its picture, if it was kept."""
    dependencies: Dependencies = request.state.dependencies
    await dependencies.recorder.delete(_id(request))
    return Response(status_code=204)


def _id(request: Request) -> str:
    id: str = request.path_params["id"]
    if not is_id(id):
        raise NotFound(f"{id[:40]!r} is not the id of an answer, which has 32 hexadecimal digits")
    return id


def _body(recorded: StoredObservation) -> dict[str, Any]:
    seen, model = recorded.observation, recorded.model
    probabilities = [round(float(value), 6) for value in recorded.probabilities()]
    classes = model.classes if model else tuple(str(index) for index in range(len(probabilities)))
    names = ("left", "top", "width", "height")
    return {
        "id": seen.id,
        "time": datetime.fromtimestamp(seen.time, UTC).isoformat(timespec="milliseconds"),
        "emotion": seen.predicted,
        "probability": round(seen.confidence, 6),
        "probabilities": dict(zip(classes, probabilities, strict=True)),
        "entropy": round(seen.entropy, 6),
        "faces": seen.faces,
        "box": dict(zip(names, seen.box, strict=True)) if seen.box else None,
        "whole_image": seen.box is None,
        "image": {"width": seen.width, "height": seen.height},
        "input": {name: round(getattr(seen, name), 6) for name in ("brightness", "contrast", "sharpness")},
        "feedback": recorded.feedback,
        "picture_kept": seen.picture is not None,
        "model": {
            "name": model.name if model else None,
            "version": seen.model_version,
            "sha256": seen.model_sha256,
        },
        "lineage": dict(model.lineage) if model else None,
    }


@routes.add("POST", "/feedback", **schemas.FEEDBACK)
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
    return json_response({"id": id, "emotion": emotion, "predicted": recorded.observation.predicted})


def _checked(body: dict[str, Any]) -> tuple[str, str]:
    if set(body) != {"id", "emotion"}:
        raise BadRequest(f"the keys are {sorted(map(str, body))[:8]}, expected exactly id and emotion")
    id, emotion = body["id"], body["emotion"]
    if not isinstance(id, str) or not is_id(id):
        raise BadRequest("id is not one of an answer: 32 hexadecimal digits")
    if not isinstance(emotion, str) or not emotion:
        raise BadRequest("emotion is not a non-empty text")
    return id, emotion
