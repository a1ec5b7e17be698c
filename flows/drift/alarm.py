"""Whether drift lasts, and what is done about it: one training at a time, and rest after it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas import filters
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound

from flows.errors import DeploymentMissing
from serving.drift.result import DriftResult

DEPLOYMENT = "training/training"
FLOW = "training"
TAG = "drift"
"""Of the training runs that drift started."""
_ALIVE = [StateType.PENDING, StateType.RUNNING, StateType.PAUSED, StateType.CANCELLING]


def separate_windows(results: Iterable[DriftResult]) -> list[DriftResult]:
    """Those results that share no observation with a newer one: each says something new.

    Args:
        results: of one model, the newest first; those without a verdict are passed over.
    """
    apart: list[DriftResult] = []
    for result in results:
        if result.verdict == "unknown" or result.window is None:
            continue
        newer = apart[-1].window if apart else None
        if newer is None or result.window.until < newer.since:
            apart.append(result)
    return apart


def lasting_drift(results: Iterable[DriftResult], *, consecutive: int) -> Sequence[DriftResult] | None:
    """The newest `consecutive` windows if all of them drifted, else None."""
    newest = separate_windows(results)[:consecutive]
    if len(newest) < consecutive or any(result.verdict != "drift" for result in newest):
        return None
    return newest


def drift_reason(drifted: Sequence[DriftResult]) -> str:
    """Why a training is started, as the end of a sentence that begins with "because"."""
    newest = drifted[0]
    columns = ", ".join(newest.drifted)
    count = f"{len(drifted)} windows in a row" if len(drifted) > 1 else "a window"
    return f"the pictures of {count} differ from those of version {newest.model_version} ({columns})"


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """A training run in Prefect."""

    name: str
    id: str


def running_training(client: SyncPrefectClient) -> TrainingRun | None:
    """A training run that is running, or due: whoever started it, it will see today's data."""
    now = datetime.now(UTC)
    alive = _newest(client, types=_ALIVE)
    return alive or _newest(client, types=[StateType.SCHEDULED], before=now)


def started_since(client: SyncPrefectClient, since: datetime) -> TrainingRun | None:
    """The newest training run that drift started since then."""
    return _newest(client, tag=TAG, after=since)


def start_training(
    client: SyncPrefectClient, reason: str, *, key: str, revision: str | None = None, tag: str | None = None
) -> TrainingRun:
    """Start the training deployment.

    Args:
        client: of the Prefect server.
        reason: shown in the run's name.
        key: two starts with the same one are one run.
        revision: branch that is trained; the deployment's own without it.
        tag: of the run, beside the deployment's.

    Raises:
        DeploymentMissing: the server has no such deployment.
    """
    try:
        deployment = client.read_deployment_by_name(DEPLOYMENT)
    except ObjectNotFound as error:
        raise DeploymentMissing(name=DEPLOYMENT) from error
    parameters = {"reason": reason} | ({"revision": revision} if revision else {})
    run = client.create_flow_run_from_deployment(
        deployment.id, parameters=parameters, tags=[tag] if tag else [], idempotency_key=key
    )
    return TrainingRun(name=run.name, id=str(run.id))


def _newest(
    client: SyncPrefectClient,
    *,
    types: list[StateType] | None = None,
    tag: str | None = None,
    before: datetime | None = None,
    after: datetime | None = None,
) -> TrainingRun | None:
    chosen = filters.FlowRunFilter(
        state=_of_type(types) if types else None,
        tags=filters.FlowRunFilterTags(all_=[tag]) if tag else None,
        expected_start_time=filters.FlowRunFilterExpectedStartTime(before_=before, after_=after),
    )
    runs = client.read_flow_runs(
        flow_filter=filters.FlowFilter(name=filters.FlowFilterName(any_=[FLOW])),
        flow_run_filter=chosen,
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=1,
    )
    return TrainingRun(name=runs[0].name, id=str(runs[0].id)) if runs else None


def _of_type(types: list[StateType]) -> filters.FlowRunFilterState:
    return filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=types))
