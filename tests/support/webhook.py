"""Receiver of alarms: a local HTTP server, and Prefect's own webhook block that points to it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prefect.blocks.notifications import CustomWebhookNotificationBlock


@dataclass
class Webhook:
    """A receiver and what it has received."""

    block: str
    """Name of Prefect's block, as flows take it."""
    url: str = ""
    """Its last part is a secret, as in the addresses of chat services."""
    received: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    """HTTP status of its answers."""


@contextmanager
def receiving(name: str) -> Iterator[Webhook]:
    """Listen on a free port; the block is saved to the Prefect server."""
    webhook = Webhook(block=f"custom-webhook/{name}")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            webhook.received.append(json.loads(body))
            self.send_response(webhook.status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Quietly."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        webhook.url = f"http://127.0.0.1:{server.server_port}/services/s3cret-path?auth=s3cret-key"
        block = CustomWebhookNotificationBlock(
            name=name,
            url=webhook.url,
            method="POST",
            json_data={"subject": "{{subject}}", "body": "{{body}}"},
        )
        block.save(name, overwrite=True)
        yield webhook
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
