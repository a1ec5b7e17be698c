"""Lasting drift, and the training runs that it starts: one at a time, with a cooldown after each."""

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
"""Tag of training runs that drift has started."""
_ALIVE = [StateType.PENDING, StateType.RUNNING, StateType.PAUSED, StateType.CANCELLING]


def separate_windows(results: Iterable[DriftResult]) -> list[DriftResult]:
    """Results whose windows do not overlap with a newer one.

    Args:
        results: of one model, newest first; results without a verdict are skipped.
    """
    separate: list[DriftResult] = []
    for result in results:
        if result.verdict == "unknown" or result.window is None:
            continue
        newer = separate[-1].window if separate else None
        if newer is None or result.window.until < newer.since:
            separate.append(result)
    return separate


def lasting_drift(results: Iterable[DriftResult], *, consecutive: int) -> Sequence[DriftResult] | None:
    """The newest `consecutive` separate windows if all of them drifted, else None."""
    newest = separate_windows(results)[:consecutive]
    if len(newest) < consecutive or any(result.verdict != "drift" for result in newest):
        return None
    return newest


def drift_reason(drifted: Sequence[DriftResult]) -> str:
    """The reason of a training, as the end of a sentence that begins with "because"."""
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
    """The newest training run that is active or due; None if there is none."""
    now = datetime.now(UTC)
    alive = _newest(client, types=_ALIVE)
    return alive or _newest(client, types=[StateType.SCHEDULED], before=now)


def started_since(client: SyncPrefectClient, since: datetime) -> TrainingRun | None:
    """The newest training run that drift has started since a point in time."""
    return _newest(client, tag=TAG, after=since)


def start_training(
    client: SyncPrefectClient, reason: str, *, key: str, revision: str | None = None, tag: str | None = None
) -> TrainingRun:
    """Start the training deployment.

    Args:
        client: of the Prefect server.
        reason: part of the run's name.
        key: idempotency key; two starts with the same key are one run.
        revision: branch to train; None uses the deployment's own.
        tag: of the run, in addition to the deployment's tags.

    Raises:
        DeploymentMissing: the server does not have the deployment.
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
