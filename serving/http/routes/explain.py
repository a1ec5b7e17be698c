"""POST /explain: an answer, and where in the picture it comes from."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from serving.detection.detector import Explanation
from serving.detection.responses import as_json
from serving.http import schemas
from serving.http.auth import marked, subject_of
from serving.http.body import read_picture
from serving.http.dependencies import LeanRoute, json_response, parts_of
from serving.http.query import preferred, read_options

JSON, PNG = "application/json", "image/png"

router = APIRouter(route_class=LeanRoute, tags=["detection"])


@router.post("/explain", **schemas.EXPLAIN)
async def explain(request: Request) -> Response:
    """As /detect, with the heatmap of every face: JSON, or a PNG for `Accept: image/png`."""
    parts = parts_of(request)
    options = read_options(request)
    kind = preferred(request.headers.get("accept", ""), offered=(JSON, PNG))
    data = await read_picture(request, max_bytes=parts.settings.max_bytes)
    explanation = await parts.detector.explain(data, options, draw=kind == PNG, subject=subject_of(request))
    canary = explanation.detection.model.canary
    parts.metrics.detection(explanation.detection)
    if explanation.overlay is None:
        body = as_json(explanation.detection, places=explanation.places)
        return marked(json_response(body), canary=canary)
    response = Response(explanation.overlay, media_type=PNG, headers=_summary(explanation))
    return marked(response, canary=canary)


def _summary(explanation: Explanation) -> dict[str, str]:
    """The answer in short, beside a picture that cannot carry it."""
    detection = explanation.detection
    headers = {"mien-id": detection.id, "mien-model": f"{detection.model.name}/{detection.model.version}"}
    if detection.answer is not None and detection.answer.emotion is not None:
        headers["mien-emotion"] = detection.answer.emotion
    # Names may hold what a header cannot.
    return {name: value for name, value in headers.items() if value.isascii() and value.isprintable()}
