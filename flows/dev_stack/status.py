"""Status of the stack: prints the missing parts, then all addresses, then that the service has a model."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from flows.dev_stack.services import POOL, Stack, read_stack
from flows.dev_stack.wait import is_healthy

_POLL_S = 1.0
_REMIND_S = 20.0
_READY_POLL_S = 5.0


def main() -> None:
    """Print the status until a signal arrives."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    stack = read_stack(os.environ, Path.cwd())
    for line in until_healthy(stack):
        print(line, flush=True)
    print(addresses(stack), flush=True)
    reason = not_ready(stack)
    while reason is not None:
        time.sleep(_READY_POLL_S)
        reason = not_ready(stack)
        if reason is None:
            print("the service is ready: it has found a production model", flush=True)
    while True:
        signal.pause()


def until_healthy(stack: Stack) -> Iterator[str]:
    """Wait until every part answers; yields a line with the missing parts every 20 s."""
    parts: dict[str, Callable[[], bool]] = {
        "MLflow": lambda: is_healthy(f"{stack.mlflow}/health"),
        "Prefect": lambda: is_healthy(f"{stack.prefect}/api/health"),
        "the worker": lambda: worker_is_online(stack),
        "the service": lambda: is_healthy(f"{stack.service}/livez"),
    }
    remind_at = time.monotonic() + _REMIND_S
    while missing := [name for name, healthy in parts.items() if not healthy()]:
        if time.monotonic() >= remind_at:
            yield f"waiting for {', '.join(missing)}"
            remind_at = time.monotonic() + _REMIND_S
        time.sleep(_POLL_S)


def worker_is_online(stack: Stack) -> bool:
    """Whether a worker of the pool is online."""
    url = f"{stack.prefect}/api/work_pools/{POOL}/workers/filter"
    status, workers = _ask(url, data=b"{}")
    return status == 200 and any(worker.get("status") == "ONLINE" for worker in workers)


def not_ready(stack: Stack) -> str | None:
    """Why the service has no model; None if it has one."""
    status, body = _ask(f"{stack.service}/readyz")
    if status == 200:
        return None
    return (
        str(body.get("detail") or body.get("title") or f"status {status}") if body else "it does not answer"
    )


def addresses(stack: Stack) -> str:
    """Addresses of all parts, and the next commands."""
    reason = not_ready(stack)
    ready = "ready" if reason is None else f"not ready: {reason}"
    return "\n".join(
        (
            "everything is up",
            f"  service  {stack.service}  ({ready}; /docs: its interface)",
            f"  MLflow   {stack.mlflow}",
            f"  Prefect  {stack.prefect}",
            '  make train REASON="…" starts a training run; Ctrl-C stops everything',
        )
    )


def _ask(url: str, *, data: bytes | None = None) -> tuple[int, Any]:
    """Status and JSON of a response; status 0 without a response."""
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})  # noqa: S310 - the stack's own addresses
    try:
        with urllib.request.urlopen(request, timeout=5.0) as answer:  # noqa: S310 - the same
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        try:
            return error.code, json.loads(error.read())
        except ValueError:
            return error.code, None
    except (OSError, ValueError):
        return 0, None


if __name__ == "__main__":
    main()
