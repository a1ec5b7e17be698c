"""Set up a Prefect server for the worker: the pool, the deployments of prefect.yaml, the automation.

    python -m flows.dev_stack.deployments

Uses the server of PREFECT_API_URL. Changes in Prefect's pages (a paused schedule, another limit) are kept:
deployments are applied again only if prefect.yaml has changed.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from flows.dev_stack.services import HEARTBEAT_S, POOL
from flows.errors import StackError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events.schemas.automations import AutomationCore

DEPLOYMENTS = Path("prefect.yaml")
VERSION = "DEPLOYMENTS_VERSION"
AUTOMATION = "mien: a run without signs of life has crashed"
TAG = "mien"
# All deployments at once, and one more run by hand.
_POOL_LIMIT = 6
# Three heartbeats may be late or lost, on a busy machine or while the server restarts.
_SILENCE = timedelta(seconds=3 * HEARTBEAT_S)
# Heartbeats and changes of state, whose events have the state's name, for example `No drift`.
_ANY_EVENT = "prefect.flow-run.*"
_HEARTBEAT = "prefect.flow-run.heartbeat"


def set_up(root: Path) -> None:
    """Create the pool, deployments and automation that are missing.

    Args:
        root: the checkout, with prefect.yaml.

    Raises:
        StackError: the deployments could not be created.
    """
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        _create_pool(client)
        _deploy(client, root)
        _create_automation(client, crash_automation(_SILENCE))


def crash_automation(silence: timedelta) -> AutomationCore:
    """An automation that marks a run without events as crashed, so that another run can start.

    Args:
        silence: time without events; at least 10 s, and longer than the heartbeat of the runs.
    """
    from prefect.automations import AutomationCore, ChangeFlowRunState, EventTrigger, Posture
    from prefect.client.schemas.objects import StateType

    trigger = EventTrigger.model_validate(
        {
            "after": {_HEARTBEAT},
            "expect": {_ANY_EVENT},
            "match": {"prefect.resource.id": "prefect.flow-run.*"},
            "match_related": {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"},
            "for_each": {"prefect.resource.id"},
            "posture": Posture.Proactive,
            "threshold": 1,
            "within": silence,
        }
    )
    message = f"the run sent no heartbeat for {silence.total_seconds():g} s: its process or machine has ended"
    return AutomationCore(
        name=AUTOMATION,
        description=message,
        trigger=trigger,
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=message)],
    )


def deployable(root: Path) -> list[str]:
    """Names of the deployments in prefect.yaml whose flow exists."""
    found: list[dict[str, Any]] = yaml.safe_load((root / DEPLOYMENTS).read_text(encoding="utf-8"))[
        "deployments"
    ]
    return [entry["name"] for entry in found if (root / entry["entrypoint"].partition(":")[0]).is_file()]


def _create_pool(client: SyncPrefectClient) -> None:
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectNotFound
    from prefect.workers.process import ProcessWorker

    try:
        client.read_work_pool(POOL)
    except ObjectNotFound:
        client.create_work_pool(
            WorkPoolCreate(
                name=POOL,
                type=ProcessWorker.type,
                base_job_template=ProcessWorker.get_default_base_job_template(),
                concurrency_limit=_POOL_LIMIT,
            )
        )


def _deploy(client: SyncPrefectClient, root: Path) -> None:
    names = deployable(root)
    version = _version(root, names)
    stale = [name for name in names if _deployed(client, name) != version]
    if not stale:
        return
    # One call for all, because each start of the command takes seconds.
    output = _apply(root, stale, version)
    # Ask the server, because the exit status of the command is not enough.
    missing = [name for name in stale if _deployed(client, name) != version]
    if missing:
        raise StackError(f"prefect.yaml: not applied: {', '.join(missing)}: {output}")


def _apply(root: Path, names: Sequence[str], version: str) -> str:
    """Apply deployments with Prefect's command; returns the end of its output."""
    chosen = [word for name in names for word in ("--name", name)]
    done = subprocess.run(  # noqa: S603 - the command is this module's own
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", *chosen],
        cwd=root,
        env=os.environ | {VERSION: version},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout.strip()[-2000:]


def _deployed(client: SyncPrefectClient, name: str) -> str | None:
    from prefect.exceptions import ObjectNotFound

    try:
        return client.read_deployment_by_name(f"{name}/{name}").version
    except ObjectNotFound:
        return None


def _version(root: Path, names: list[str]) -> str:
    """Version of the deployments; depends on prefect.yaml and on the folder of the flows."""
    content = (root / DEPLOYMENTS).read_bytes() + f"{root.resolve()} {names}".encode()
    return hashlib.sha256(content).hexdigest()[:12]


def _create_automation(client: SyncPrefectClient, wanted: AutomationCore) -> None:
    """Create the automation; an equal one is kept, because a new one would not know the active runs."""
    for found in client.read_automations_by_name(wanted.name):
        if found.description == wanted.description:
            return
        client.delete_automation(found.id)
    client.create_automation(wanted)


def main() -> None:
    """Set up the server of PREFECT_API_URL."""
    try:
        set_up(Path.cwd())
    except StackError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
