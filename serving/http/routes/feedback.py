"""POST /feedback: the true emotion of an earlier answer."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from serving.detection.responses import is_id
from serving.errors import BadRequest
from serving.http import schemas
from serving.http.body import read_json
from serving.http.dependencies import LeanRoute, json_response, parts_of

router = APIRouter(route_class=LeanRoute, tags=["observations"])


@router.post("/feedback", **schemas.FEEDBACK)
async def feedback(request: Request) -> Response:
    """Store what the person really felt; told twice, the later one counts."""
    parts = parts_of(request)
    id, emotion = _checked(await read_json(request))
    recorded = await parts.recorder.observation(id)
    classes = recorded.model.classes if recorded.model else ()
    if classes and emotion not in classes:
        raise BadRequest(f"emotion is {emotion[:40]!r}, the model knows {', '.join(classes)}")
    await parts.recorder.feedback(id, emotion)
    parts.metrics.feedback(emotion)
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
