"""What a server imports: the application, and the protocols that bound what connections may cost.

    python -m serving
    uvicorn serving.main:app --http serving.main:http --ws serving.main:websocket

Each is made when it is first asked for: importing this module reads no setting and opens nothing.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from serving.libraries import limit_opencv, take_error_output

if TYPE_CHECKING:
    from fastapi import FastAPI

_asked: set[str] = set()


@cache
def _app() -> FastAPI:
    """The application of the environment's settings; what is wrong with them ends the process."""
    from serving.preflight import check, check_server, exit_on_error, read_settings

    with exit_on_error():
        settings = read_settings()
        # OpenCV reads it when it is imported, which checking does.
        limit_opencv(settings.max_pixels)
        check(settings)
    # Imported only now: errors are reported before imports that take seconds.
    from serving.http.app import create_app
    from serving.http.telemetry.logs import configure_logs

    take_error_output()
    configure_logs(settings.log_level)
    # A server may ask for its protocols after the application, and has by the time that it starts.
    app = create_app(settings, before_start=lambda: check_server(_asked))
    # A hundred thousand objects of the libraries stay for good. Walking through them all takes the collector
    # tens of milliseconds, during which every request waits.
    gc.collect()
    gc.freeze()
    return app


def _http() -> type[Any]:
    from serving.http.server.http_protocol import HttpProtocol

    return HttpProtocol


def _websocket() -> type[Any]:
    from serving.http.server.websocket_protocol import WebSocketProtocol

    return WebSocketProtocol


_MADE: dict[str, Callable[[], Any]] = {"app": _app, "http": _http, "websocket": _websocket}


def __getattr__(name: str) -> Any:
    """`app`, `http` and `websocket`, on first use (PEP 562)."""
    if name not in _MADE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _asked.add(name)
    try:
        return _MADE[name]()
    except AttributeError as error:
        # The importer would take it for a missing attribute.
        raise RuntimeError(f"{name} cannot be made: {error}") from error
