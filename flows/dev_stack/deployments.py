"""What a Prefect server needs before a worker starts: the pool, prefect.yaml's deployments, the automation.

    python -m flows.dev_stack.deployments

Applies to the server of PREFECT_API_URL. What is there already stays as it was changed in Prefect's pages (a
paused schedule, another limit); deployments are applied again only when prefect.yaml has changed.
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
# Every deployment at once, and one place for a run by hand.
_PLACES = 6
# Three signs of life may be lost or late: a machine under load, a server that restarts.
_SILENCE = timedelta(seconds=3 * HEARTBEAT_S)
# A change of state is one too, and its event has the state's name: a run may end as `No drift`.
_SIGN_OF_LIFE = "prefect.flow-run.*"
_ALIVE = "prefect.flow-run.heartbeat"


def set_up(root: Path) -> None:
    """Create pool, deployments and automation where they are missing.

    Args:
        root: the checkout, with prefect.yaml.

    Raises:
        StackError: Prefect does not take them.
    """
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        _create_pool(client)
        _deploy(client, root)
        _create_automation(client, crash_automation(_SILENCE))


def crash_automation(silence: timedelta) -> AutomationCore:
    """Marks a run as crashed after so long without a sign of life, which frees its place.

    Args:
        silence: at least 10 s, and more than the runs' heartbeat.
    """
    from prefect.automations import AutomationCore, ChangeFlowRunState, EventTrigger, Posture
    from prefect.client.schemas.objects import StateType

    trigger = EventTrigger.model_validate(
        {
            "after": {_ALIVE},
            "expect": {_SIGN_OF_LIFE},
            "match": {"prefect.resource.id": "prefect.flow-run.*"},
            "match_related": {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"},
            "for_each": {"prefect.resource.id"},
            "posture": Posture.Proactive,
            "threshold": 1,
            "within": silence,
        }
    )
    said = (
        f"the run gave no sign of life for {silence.total_seconds():g} s: its process or its machine is gone"
    )
    return AutomationCore(
        name=AUTOMATION,
        description=said,
        trigger=trigger,
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=said)],
    )


def deployable(root: Path) -> list[str]:
    """Names of prefect.yaml's deployments whose flow is there."""
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
                concurrency_limit=_PLACES,
            )
        )


def _deploy(client: SyncPrefectClient, root: Path) -> None:
    names = deployable(root)
    version = _version(root, names)
    stale = [name for name in names if _deployed(client, name) != version]
    if not stale:
        return
    # All at once: every start of the command costs seconds.
    said = _apply(root, stale, version)
    # Not by the exit status alone: what counts is what the server has.
    missing = [name for name in stale if _deployed(client, name) != version]
    if missing:
        raise StackError(f"prefect.yaml: not applied: {', '.join(missing)}: {said}")


def _apply(root: Path, names: Sequence[str], version: str) -> str:
    """Let Prefect's own command apply deployments; returns the end of what it printed."""
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
    """Changes with prefect.yaml, and with the place that its flows are loaded from."""
    content = (root / DEPLOYMENTS).read_bytes() + f"{root.resolve()} {names}".encode()
    return hashlib.sha256(content).hexdigest()[:12]


def _create_automation(client: SyncPrefectClient, wanted: AutomationCore) -> None:
    """An automation that is replaced forgets which runs it is waiting for, so an equal one stays."""
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
