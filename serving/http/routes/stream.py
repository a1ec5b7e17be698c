"""WS /stream: classifies webcam frames."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from serving.errors import UpgradeRequired
from serving.http import schemas
from serving.http.auth import client_id_of
from serving.http.dependencies import LeanRoute, dependencies_of
from serving.http.middleware import STREAM_NOTES

router = APIRouter(route_class=LeanRoute, tags=["detection"])


@router.websocket("/stream")
async def stream(socket: WebSocket) -> None:
    """Answer the newest frame repeatedly."""
    dependencies = dependencies_of(socket)
    await socket.accept()
    subject = client_id_of(socket)
    opened = dependencies.streams.stream(socket, request_id=socket.state.request_id, subject=subject)
    try:
        await dependencies.streams.serve(opened)
    finally:
        notes = {"frames": opened.frames, "dropped": opened.dropped}
        setattr(socket.state, STREAM_NOTES, notes)


@router.get("/stream", **schemas.STREAM)
async def explain_stream(request: Request) -> Response:
    """A WebSocket: send frames (binary messages), receive answers (text). See docs/api.md."""
    raise UpgradeRequired
