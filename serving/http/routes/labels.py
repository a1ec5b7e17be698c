"""/labels: kept pictures that people should label next, their labels, and how well people agree.

The model's answer is left out of what a labeller gets: people who see a suggestion tend towards it
(anchoring: A. Tversky and D. Kahneman, "Judgment under Uncertainty", Science 185, 1974), and labels that
follow the model would hide its mistakes. Nor are other people's labels shown: each label is independent.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import cv2
import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter, with_config
from starlette.requests import Request
from starlette.responses import Response

from serving.contract import Box, decode
from serving.contract.preprocessing import crop_square
from serving.detection.bodies import EXAMPLE_ID, Count, Id, Length, Time, iso_time
from serving.errors.requests import BadRequest, NotFound
from serving.http.auth import Caller
from serving.http.endpoint import ACCESS, BODY, Answer, Dependencies, Routes, Schema, documented
from serving.http.request.body import json_response, read_json, read_limit
from serving.http.routes.predictions import ID_PARAMETER, checked_id, path_id
from serving.observations.consensus import NOT_A_FACE, SKIP
from serving.observations.images import PictureFolder
from serving.observations.labels import Label, LabelSummary
from serving.settings import Settings

routes = Routes("labels")
_TASKS, _MAX_TASKS = 10, 20
_DAY_S = 86_400.0
# Of the sent picture, px: enough for a screen, and a decoded one stays small.
_LONGEST_SIDE, _JPEG_QUALITY = 640, 92
_NAME = re.compile(r"[A-Za-z0-9._-]{1,32}")
# Of a key's name; with a given name it fits into the database's column.
_KEY_NAME_LENGTH = 90
_LABELLER: Schema = {
    "name": "labeller",
    "in": "query",
    "schema": {"type": "string", "pattern": f"^{_NAME.pattern}$"},
    "description": "Name of the person, if several share one key; without it the key's name.",
}
_LIMIT: Schema = {
    "name": "limit",
    "in": "query",
    "schema": {"type": "integer", "minimum": 1, "maximum": _MAX_TASKS, "default": _TASKS},
}


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A picture to label."""

    id: Id
    time: Time
    classes: tuple[str, ...]
    """Labels besides `not-a-face` and `skip`: the classes of the model that answered."""


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class Tasks:
    """The pictures that this person should label next, the most useful first."""

    labeller: str
    """Under which name the labels are stored."""
    labelled: Count
    """Pictures that this person has labelled."""
    tasks: tuple[Task, ...]


@with_config(
    ConfigDict(extra="forbid", json_schema_extra={"example": {"id": EXAMPLE_ID, "label": "surprise"}})
)
@dataclass(frozen=True, kw_only=True, slots=True)
class NewLabel:
    """A person's label of a picture; a second one by the same person replaces the first."""

    id: Id
    label: Annotated[str, Field(min_length=1)]
    labeller: Annotated[str | None, Field(pattern=f"^{_NAME.pattern}$")] = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelStored:
    """The label is stored."""

    id: Id
    label: str
    labeller: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PicturesByStatus:
    """Number of pictures with labels."""

    open: Count
    agreed: Count
    disputed: Count


@dataclass(frozen=True, kw_only=True, slots=True)
class Disputed:
    """Number of people for each label of a picture on which they do not agree."""

    id: Id
    labels: Mapping[str, Count]


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class Labels:
    """All labels together, and how well people agree."""

    needed: Length
    """Number of equal labels that decide about a picture."""
    pictures: PicturesByStatus
    agreed: Mapping[str, Count]
    """Agreed label → number of pictures."""
    labels: Count
    """Number of labels, without skips."""
    skips: Count
    labellers: Count
    alpha: Annotated[float, Field(le=1)] | None
    """Krippendorff's alpha, nominal: 1 is perfect agreement, 0 that of chance; null where it is undefined."""
    disputed: tuple[Disputed, ...]
    """The newest hundred."""


@routes.add("GET", "/labels", scope="label", answer=Labels, problems=(*ACCESS, 503))
async def summary(request: Request) -> Response:
    """Counts of labels, their agreement, and the disputed pictures."""
    dependencies: Dependencies = request.state.dependencies
    found = await asyncio.to_thread(dependencies.labels.summary)
    return json_response(_summary(found, needed=dependencies.settings.labels_needed))


@routes.add(
    "GET",
    "/labels/next",
    scope="label",
    answer=Tasks,
    problems=(*ACCESS, 400, 503),
    parameters=[_LIMIT, _LABELLER],
)
async def next_tasks(request: Request) -> Response:
    """Pictures to label: uncertain, unfamiliar and unlike each other; without the model's answers."""
    dependencies: Dependencies = request.state.dependencies
    limit = read_limit(request, default=_TASKS, max_limit=_MAX_TASKS)
    labeller = _labeller(request, request.query_params.get("labeller"))
    since = time.time() - dependencies.settings.keep_images_days * _DAY_S

    def read() -> Tasks:
        found = dependencies.labels.next_tasks(
            labeller, since=since, limit=limit, exists=_pictures(dependencies.settings).exists
        )
        tasks = tuple(Task(id=task.id, time=iso_time(task.time), classes=task.classes) for task in found)
        return Tasks(labeller=labeller, labelled=dependencies.labels.count(labeller), tasks=tasks)

    return json_response(await asyncio.to_thread(read))


@routes.add(
    "GET",
    "/labels/{id}/picture",
    scope="label",
    answer=Answer(
        text="The face that the model got, or the whole picture, at most 640 px wide and high.",
        content={"image/jpeg": {"schema": {"type": "string", "contentMediaType": "image/jpeg"}}},
    ),
    problems=(*ACCESS, 404, 413, 415, 422, 503),
    parameters=[ID_PARAMETER],
)
async def picture(request: Request) -> Response:
    """A kept picture as JPEG without metadata, cut out as the model got it, without other people."""
    dependencies: Dependencies = request.state.dependencies
    name, box, _ = await _kept(dependencies, path_id(request))
    settings = dependencies.settings

    def read() -> bytes:
        try:
            data = _pictures(settings).read(name)
        except FileNotFoundError as error:
            raise NotFound("the picture is not kept any more; ask for the next one") from error
        return _jpeg(data, box, settings)

    return Response(await asyncio.to_thread(read), media_type="image/jpeg")


@routes.add(
    "POST",
    "/labels",
    scope="label",
    answer=LabelStored,
    problems=(*ACCESS, *BODY, 404, 503),
    body={"required": True, "content": {"application/json": {"schema": TypeAdapter(NewLabel).json_schema()}}},
)
async def put_label(request: Request) -> Response:
    """Store a person's label of a kept picture: a class of its model, `not-a-face` or `skip`."""
    dependencies: Dependencies = request.state.dependencies
    given = _checked(await read_json(request))
    labeller = _labeller(request, given.labeller)
    _, _, classes = await _kept(dependencies, given.id)
    allowed = (*classes, NOT_A_FACE, SKIP)
    if given.label not in allowed:
        raise BadRequest(f"label is {given.label[:40]!r}, expected one of {', '.join(allowed)}")
    row = Label(observation_id=given.id, labeller=labeller, time=time.time(), label=given.label)
    await asyncio.to_thread(dependencies.labels.put, row)
    dependencies.metrics.label(given.label)
    return json_response(LabelStored(id=given.id, label=given.label, labeller=labeller))


@routes.add(
    "DELETE",
    "/labels/{id}/mine",
    scope="label",
    answer=Answer(status=204, text="The label is withdrawn; the picture may be offered again."),
    problems=(*ACCESS, 400, 404, 503),
    parameters=[ID_PARAMETER, _LABELLER],
)
async def withdraw_label(request: Request) -> Response:
    """Withdraw the caller's own label of a picture."""
    dependencies: Dependencies = request.state.dependencies
    id = path_id(request)
    labeller = _labeller(request, request.query_params.get("labeller"))
    if not await asyncio.to_thread(dependencies.labels.withdraw, id, labeller):
        raise NotFound(f"{labeller} has no label of the answer {id}, so there is nothing to withdraw")
    return Response(status_code=204)


def _labeller(request: Request, given: str | None) -> str:
    """Return the name under which labels are stored; a key cannot label under another key's name."""
    if given is not None and not _NAME.fullmatch(given):
        raise BadRequest(f"labeller is {given[:40]!r}, expected 1 to 32 letters, digits, `.`, `-`, `_`")
    caller: Caller = request.scope["state"]["caller"]
    if caller.name == "anonymous":
        return given or caller.name
    key = caller.name[:_KEY_NAME_LENGTH]
    return f"{key}/{given}" if given else key


def _checked(body: dict[str, Any]) -> NewLabel:
    if not {"id", "label"} <= set(body) <= {"id", "label", "labeller"}:
        raise BadRequest(
            f"the keys are {sorted(map(str, body))[:8]}, expected id, label and perhaps labeller"
        )
    label, labeller = body["label"], body.get("labeller")
    if not isinstance(label, str) or not label:
        raise BadRequest("label is not a non-empty text")
    if labeller is not None and not isinstance(labeller, str):
        raise BadRequest("labeller is not a text; leave it out to label under the key's name")
    return NewLabel(id=checked_id(body["id"]), label=label, labeller=labeller)


async def _kept(dependencies: Dependencies, id: str) -> tuple[str, Box | None, tuple[str, ...]]:
    """Return name, face and model's classes of a kept picture."""
    recorded = await dependencies.recorder.observation(id)
    name = recorded.observation.picture
    if name is None:
        raise NotFound(f"no picture of the answer {id} is kept; GET /labels/next lists those that are")
    return name, recorded.observation.box, recorded.model.classes if recorded.model else ()


def _pictures(settings: Settings) -> PictureFolder:
    return PictureFolder(settings.keep_images_dir, fraction=0.0)


def _jpeg(data: bytes, box: Box | None, settings: Settings) -> bytes:
    image = decode(data, max_pixels=settings.max_pixels)
    if box is not None:
        image = crop_square(image, box, margin=settings.face_margin)
    height, width = image.shape[:2]
    scale = _LONGEST_SIDE / max(height, width)
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return encoded.tobytes()


def _summary(found: LabelSummary, *, needed: int) -> Labels:
    given = found.pictures
    return Labels(
        needed=needed,
        pictures=PicturesByStatus(open=given["open"], agreed=given["agreed"], disputed=given["disputed"]),
        agreed=dict(found.agreed),
        labels=found.labels,
        skips=found.skips,
        labellers=found.labellers,
        alpha=None if found.alpha is None else round(found.alpha, 6),
        disputed=tuple(Disputed(id=one.id, labels=dict(one.labels)) for one in found.disputed),
    )
