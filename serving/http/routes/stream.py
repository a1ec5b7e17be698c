"""WS /stream: classifies webcam frames."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from serving.errors.requests import UpgradeRequired
from serving.http.auth import client_id_of
from serving.http.endpoint import ACCESS, Answer, Dependencies, Routes
from serving.http.websocket import STREAM_NOTES

routes = Routes("detection")


@routes.add_websocket("/stream")
async def stream(socket: WebSocket) -> None:
    """Answer the newest frame repeatedly."""
    dependencies: Dependencies = socket.state.dependencies
    await socket.accept()
    subject = client_id_of(socket)
    opened = dependencies.streams.stream(socket, request_id=socket.state.request_id, subject=subject)
    try:
        await dependencies.streams.serve(opened)
    finally:
        notes = {"frames": opened.frames, "dropped": opened.dropped}
        setattr(socket.state, STREAM_NOTES, notes)


@routes.add(
    "GET", "/stream", answer=Answer(status=101, text="A WebSocket; see docs/api.md."), problems=(*ACCESS, 426)
)
async def explain_stream(request: Request) -> Response:
    """A WebSocket: send frames (binary messages), receive answers (text). See docs/api.md."""
    raise UpgradeRequired
