"""Start a training on the worker, follow it, and print its result: `make train REASON="…"`.

    python -m flows.start --reason "new data"

Uses the Prefect server of `PREFECT_API_URL`, else that of `make up` on this machine. Ctrl-C stops following,
and the run continues. Exits with 0 if the run completed, else with 1.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from httpx import HTTPError
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL, temporary_settings

from flows.training.summary import final_line

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun, State

DEPLOYMENT = "training/training"
POLL_S = 2.0
"""Interval between two requests for the state of a run that takes minutes to hours."""
_UNCLAIMED_S = 30.0
"""Twice the interval in which a worker looks for new runs (Prefect's `worker.query_seconds`, 15 s)."""


def start(client: SyncPrefectClient, reason: str) -> FlowRun:
    """Create a run of the training deployment."""
    deployment = client.read_deployment_by_name(DEPLOYMENT)
    return client.create_flow_run_from_deployment(deployment.id, parameters={"reason": reason})


def follow(client: SyncPrefectClient, run_id: UUID, *, on_line: Callable[[str], None] = print) -> State[Any]:
    """Wait until a run has ended, and report each of its states.

    Args:
        client: of the Prefect server.
        run_id: of the run.
        on_line: called with a line for each state.

    Returns:
        The final state.
    """
    reported, started_s, warned = "", time.monotonic(), False
    while True:
        state = client.read_flow_run(run_id).state
        if state is not None and state.is_final():
            return state
        name = "unknown" if state is None else str(state.name)
        if name != reported:
            on_line(f"  {name}")
            reported = name
        waiting = state is not None and state.is_scheduled()
        if waiting and not warned and time.monotonic() - started_s > _UNCLAIMED_S:
            on_line(
                "  no worker has started it yet; a worker runs one training at a time, `make up` starts one"
            )
            warned = True
        time.sleep(POLL_S)


def main() -> None:
    """Start a run and follow it."""
    parser = argparse.ArgumentParser(description="Start a training on the worker and print its result.")
    parser.add_argument("--reason", default="", help="reason, for the run's name")
    reason = parser.parse_args().reason
    # Without an address Prefect would start a server of its own, without the deployment and a worker.
    server = PREFECT_API_URL.value() or _server_of_make_up()
    try:
        with temporary_settings({PREFECT_API_URL: server}), get_client(sync_client=True) as client:
            sys.exit(_run(client, reason))
    except ObjectNotFound:
        sys.exit(f"error: the server {server} has no deployment {DEPLOYMENT}; `make up` creates it")
    except (HTTPError, PrefectHTTPStatusError, RuntimeError) as error:
        sys.exit(f"error: the Prefect server {server} does not answer: {error}; `make up` starts one")


def _server_of_make_up() -> str:
    host, port = os.environ.get("HOST") or "127.0.0.1", os.environ.get("PREFECT_PORT") or "4200"
    return f"http://{host}:{port}/api"


def _run(client: SyncPrefectClient, reason: str) -> int:
    run = start(client, reason)
    address = f"{PREFECT_UI_URL.value()}/runs/flow-run/{run.id}"
    print(f"{run.name}: {address}", flush=True)
    try:
        state = follow(client, run.id)
    except KeyboardInterrupt:
        print(f"\nStopped following; the run continues: {address}")
        return 1
    print(final_line(state))
    if not state.is_completed():
        print(f"Details: {address}")
    return 0 if state.is_completed() else 1


if __name__ == "__main__":
    main()
