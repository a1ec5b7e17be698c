"""Start a training by the worker, follow it, and say how it ended: `make train REASON="…"`.

    python -m flows.start --reason "new data"

Asks the Prefect server that `PREFECT_API_URL` names. Ctrl-C stops following; the run goes on. Exits with 0
when the run completed, else with 1.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from httpx import HTTPError
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_UI_URL

from flows.training.summary import ending

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun, State

DEPLOYMENT = "training/training"
POLL_S = 2.0
"""Between two looks at a run that takes minutes to hours."""
_UNCLAIMED_S = 30.0
"""A worker looks for new runs every 15 s (Prefect's `worker.query_seconds`); twice that is too long."""


def start(client: SyncPrefectClient, reason: str) -> FlowRun:
    """Create a run of the training deployment."""
    deployment = client.read_deployment_by_name(DEPLOYMENT)
    return client.create_flow_run_from_deployment(deployment.id, parameters={"reason": reason})


def follow(client: SyncPrefectClient, run_id: UUID, *, tell: Callable[[str], None] = print) -> State[Any]:
    """Wait until a run has ended, and tell of each of its states.

    Args:
        client: of the Prefect server.
        run_id: of the run.
        tell: gets a line for each state.
    """
    told, started_s, warned = "", time.monotonic(), False
    while True:
        state = client.read_flow_run(run_id).state
        if state is not None and state.is_final():
            return state
        name = "unknown" if state is None else str(state.name)
        if name != told:
            tell(f"  {name}")
            told = name
        waiting = state is not None and state.is_scheduled()
        if waiting and not warned and time.monotonic() - started_s > _UNCLAIMED_S:
            tell("  no worker has taken it yet: one runs trainings one after the other, `make up` starts one")
            warned = True
        time.sleep(POLL_S)


def main() -> None:
    """Start a run and follow it."""
    parser = argparse.ArgumentParser(description="Start a training by the worker and say how it ends.")
    parser.add_argument("--reason", default="", help="why, for the run's name")
    reason = parser.parse_args().reason
    try:
        with get_client(sync_client=True) as client:
            sys.exit(_run(client, reason))
    except ObjectNotFound:
        sys.exit(f"error: the server has no deployment {DEPLOYMENT}; `make up` creates it")
    except (HTTPError, PrefectHTTPStatusError, RuntimeError) as error:
        sys.exit(f"error: the Prefect server cannot be asked: {error}; `make up` starts one")


def _run(client: SyncPrefectClient, reason: str) -> int:
    run = start(client, reason)
    address = f"{PREFECT_UI_URL.value()}/runs/flow-run/{run.id}"
    print(f"{run.name}: {address}", flush=True)
    try:
        state = follow(client, run.id)
    except KeyboardInterrupt:
        print(f"\nNot followed any more; the run goes on: {address}")
        return 1
    print(ending(state))
    if not state.is_completed():
        print(f"Read on: {address}")
    return 0 if state.is_completed() else 1


if __name__ == "__main__":
    main()
