"""The real service for tests: the application in a real uvicorn, in a thread, with a real model."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from serving.http.app import create_app
from serving.http.server.http_protocol import HttpProtocol
from serving.http.server.websocket_protocol import WebSocketProtocol
from serving.settings import Settings
from tests.support.pictures import encoded
from tests.support.serving_models import flat

PATIENCE_S = 30.0


def settings_in(folder: Path, **given: Any) -> Settings:
    """Settings that keep everything in `folder`."""
    defaults: dict[str, Any] = {
        "model": str(folder / "model"),
        "cache_dir": folder / "cache",
        "database_url": f"sqlite:///{folder}/observations.db",
        "keep_images_dir": folder / "pictures",
        "tracking_uri": f"sqlite:///{folder}/mlflow.db",
        "poll_s": 0.2,
        "threads": 2,
    }
    return Settings(**(defaults | given))


@contextmanager
def serving(settings: Settings) -> Iterator[httpx.Client]:
    """A client of the service, which listens on a free port."""
    config = uvicorn.Config(
        create_app(settings),
        host=settings.host,
        port=0,
        http=HttpProtocol,
        ws=WebSocketProtocol,
        log_config=None,
        access_log=False,
        lifespan="on",
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="uvicorn")
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive())
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


def until(holds: Any, patience_s: float = PATIENCE_S) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline, f"not true within {patience_s:g} s"
        time.sleep(0.02)


def ready(client: httpx.Client) -> httpx.Client:
    """The client, once a model is live."""
    until(lambda: client.get("/readyz").status_code == 200)
    return client


def picture_of(index: int, *, side: int = 32) -> bytes:
    """A PNG file that the test model takes for class `index`."""
    return encoded(flat(index, side=side)[0])
