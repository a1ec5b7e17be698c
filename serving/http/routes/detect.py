"""POST /detect, /detect/batch and /explain: classify the faces of pictures, with heatmaps on request."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, NotRequired

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from serving.detection import bodies
from serving.detection.detector import Explanation, Options
from serving.detection.responses import as_json, explanation_json
from serving.errors.requests import NotAcceptable, Overloaded
from serving.http.auth import client_id_of, mark_canary
from serving.http.endpoint import ACCESS, BODY, Answer, Dependencies, Routes, Schema
from serving.http.problems import Problem, problem
from serving.http.request.body import json_response, read_options, read_picture, read_pictures
from serving.http.request.form import FORM_OVERHEAD_BYTES, Upload
from serving.inference.model_slot import LiveModel

JSON, PNG = "application/json", "image/png"
_QUERY: list[Schema] = [
    {
        "name": "faces",
        "in": "query",
        "schema": {"type": "string", "enum": ["auto", "all", "none"], "default": "auto"},
        "description": "`auto`: every face, or the whole picture without a face. `all`: faces only. "
        "`none`: the whole picture is treated as one face.",
    },
    {
        "name": "min_probability",
        "in": "query",
        "schema": {"type": "number", "minimum": 0, "maximum": 1, "default": 0},
        "description": "Below this probability the emotion is null.",
    },
]
_FILE: Schema = {"type": "string", "format": "binary", "description": "JPEG, PNG, WebP or BMP."}
_FORM: Schema = {"type": "object", "properties": {"file": _FILE}, "required": ["file"]}
_PICTURE: Schema = {
    "required": True,
    "content": {
        "multipart/form-data": {"schema": _FORM},
        **{f"image/{kind}": {"schema": _FILE} for kind in ("jpeg", "png", "webp", "bmp")},
    },
}
_PICTURES: Schema = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {"file": {"type": "array", "items": _FILE, "minItems": 1}},
                "required": ["file"],
            }
        }
    },
}
_PICTURE_PROBLEMS = (*ACCESS, *BODY, 422, 503)


# Operations that take an answer's id; in a reference `~1` is a slash (RFC 6901).
_LINKS: Schema = {
    "prediction": {
        "operationRef": "#/paths/~1predictions~1{id}/get",
        "parameters": {"id": "$response.body#/id"},
        "description": "The stored answer and its lineage.",
    },
    "deletion": {
        "operationRef": "#/paths/~1predictions~1{id}/delete",
        "parameters": {"id": "$response.body#/id"},
        "description": "Delete the answer.",
    },
}


routes = Routes("detection")


class BatchEntry(TypedDict):
    """Either a result or a problem."""

    file: Annotated[str, Field(description="The client's name of the file.")]
    result: NotRequired[bodies.Detection]
    problem: NotRequired[Problem]


class Batch(TypedDict):
    """One entry for each file, in order."""

    results: list[BatchEntry]


def _picture_bytes(dependencies: Dependencies) -> int:
    return dependencies.settings.max_bytes + FORM_OVERHEAD_BYTES


def _batch_bytes(dependencies: Dependencies) -> int:
    return dependencies.settings.max_batch_bytes


@routes.add(
    "POST",
    "/detect",
    max_bytes=_picture_bytes,
    answer=Answer(text="The faces and their emotions.", model=bodies.Detection, links=_LINKS),
    problems=_PICTURE_PROBLEMS,
    parameters=_QUERY,
    body=_PICTURE,
)
async def detect(request: Request) -> Response:
    """Find the faces of one picture and classify their emotions."""
    dependencies: Dependencies = request.state.dependencies
    options = read_options(request)
    data = await read_picture(request, max_bytes=dependencies.settings.max_bytes)
    detection = await dependencies.detector.detect(data, options, subject=client_id_of(request))
    dependencies.metrics.detection(detection)
    return mark_canary(json_response(as_json(detection)), canary=detection.model.canary)


@routes.add(
    "POST",
    "/detect/batch",
    max_bytes=_batch_bytes,
    answer=Answer(text="One result or one problem for each file, in order.", model=Batch),
    problems=(*ACCESS, *BODY, 503),
    parameters=_QUERY,
    body=_PICTURES,
)
async def detect_batch(request: Request) -> Response:
    """Classify several pictures with the same model: one result or one problem each, in order."""
    dependencies: Dependencies = request.state.dependencies
    options = read_options(request)
    settings = dependencies.settings
    files = await read_pictures(request, max_bytes=settings.max_bytes, max_files=settings.max_batch_files)
    live = dependencies.slot.require()
    subject = client_id_of(request)
    answers = await asyncio.gather(*(_answer(dependencies, file, options, live, subject) for file in files))
    failures = [answer for answer in answers if isinstance(answer, Exception)]
    # All pictures failed because the service is overloaded: the client should retry, as with one picture.
    if len(failures) == len(answers) and isinstance(failures[0], Overloaded):
        raise failures[0]
    entries = [_entry(file.name, answer, request) for file, answer in zip(files, answers, strict=True)]
    canary = any("canary" in entry["result"]["model"] for entry in entries if "result" in entry)
    return mark_canary(json_response(Batch(results=entries)), canary=canary)


async def _answer(
    dependencies: Dependencies, file: Upload, options: Options, live: LiveModel, subject: str | None
) -> bodies.Detection | Exception:
    if file.error is not None:
        return file.error
    try:
        detection = await dependencies.detector.detect(file.data, options, live=live, subject=subject)
    # One bad file must not fail the others; its entry in the response contains the problem.
    except Exception as error:
        return error
    dependencies.metrics.detection(detection)
    return as_json(detection)


def _entry(name: str, answer: bodies.Detection | Exception, request: Request) -> BatchEntry:
    if isinstance(answer, Exception):
        return {"file": name, "problem": problem(answer, request_id=request.state.request_id)}
    return {"file": name, "result": answer}


@routes.add(
    "POST",
    "/explain",
    max_bytes=_picture_bytes,
    answer=Answer(
        text="The faces, their emotions and heatmaps.",
        model=bodies.Explanation,
        content={PNG: {"schema": {"type": "string", "format": "binary"}}},
        links=_LINKS,
    ),
    problems=(*_PICTURE_PROBLEMS, 406),
    parameters=_QUERY,
    body=_PICTURE,
)
async def explain(request: Request) -> Response:
    """Classify as /detect does, with the heatmap of every face: JSON, or a PNG for `Accept: image/png`."""
    dependencies: Dependencies = request.state.dependencies
    options = read_options(request)
    kind = preferred(request.headers.get("accept", ""), offered=(JSON, PNG))
    data = await read_picture(request, max_bytes=dependencies.settings.max_bytes)
    explanation = await dependencies.detector.explain(
        data, options, draw=kind == PNG, subject=client_id_of(request)
    )
    canary = explanation.detection.model.canary
    dependencies.metrics.detection(explanation.detection)
    if explanation.overlay is None:
        body = explanation_json(explanation.detection, explanation.places)
        return mark_canary(json_response(body), canary=canary)
    response = Response(explanation.overlay, media_type=PNG, headers=_summary(explanation))
    return mark_canary(response, canary=canary)


def _summary(explanation: Explanation) -> dict[str, str]:
    """Return a short form of the answer as headers, for a PNG body."""
    detection = explanation.detection
    headers = {"mien-id": detection.id, "mien-model": f"{detection.model.name}/{detection.model.version}"}
    if detection.answer is not None and detection.answer.emotion is not None:
        headers["mien-emotion"] = detection.answer.emotion
    # Names may contain characters that are not allowed in headers.
    return {name: value for name, value in headers.items() if value.isascii() and value.isprintable()}


def preferred(accept: str, *, offered: Sequence[str]) -> str:
    """Choose the offered media type that the client prefers (RFC 9110, 12.5.1).

    Args:
        accept: the `Accept` header; empty accepts all types.
        offered: media types; the first one wins a tie.

    Raises:
        NotAcceptable: the client accepts none of them.
    """
    if not accept.strip():
        return offered[0]
    ranges = [_parsed_accept(item) for item in accept.split(",")]
    best = max(offered, key=lambda kind: _quality(kind, ranges))
    if _quality(best, ranges) <= 0:
        raise NotAcceptable(got=accept[:80], offered=" and ".join(offered))
    return best


def _parsed_accept(item: str) -> tuple[str, float]:
    kind, *parameters = (part.strip().lower() for part in item.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return kind, float(value)
            except ValueError:
                return kind, 0.0
    return kind, 1.0


def _quality(kind: str, ranges: Sequence[tuple[str, float]]) -> float:
    """Return the quality of the most specific range that contains `kind`; 0 without one."""
    for pattern in (kind, kind.partition("/")[0] + "/*", "*/*"):
        for got, quality in ranges:
            if got == pattern:
                return quality
    return 0.0
