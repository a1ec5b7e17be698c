"""The drift flow: compares the newest observations with the model's reference; lasting drift starts training.

    python -m flows.drift                                   # here and now
    prefect deployment run drift/drift                      # by the worker of `make up`

The window, its minimum size and the rate of false alarms are the service's settings, MIEN_DRIFT_…;
docs/drift.md describes the computation.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from prefect import flow, get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from flows.drift import alarm, publish
from flows.drift.window import DriftWindow, compute_window
from flows.drift.workspace import WORKSPACE, add_snapshot
from flows.errors import FlowError
from flows.settings import drift_run_name, service_settings
from flows.training.flow import failed, run_command
from pipelines.core.cli import quiet_libraries
from pipelines.core.errors import PipelineError
from serving.drift.result import DriftResult
from serving.errors import ServingError
from serving.errors.operation import WindowTooSmall
from serving.model_sync.service import absolute_uri
from serving.settings import Settings

NO_VERDICT, NO_DRIFT, DRIFT, ALARM = "No verdict", "No drift", "Drift", "Alarm"
"""Names of the completed states."""


@flow(name="drift", flow_run_name=drift_run_name, persist_result=False)
def drift(
    consecutive: Annotated[int, Field(ge=1, le=100)] = 3,
    cooldown_hours: Annotated[float, Field(ge=0)] = 24.0,
    retrain: bool = True,
    notify: str | None = None,
) -> State[Any]:
    """Compare the newest observations with the served model's reference, and act if drift lasts.

    Args:
        consecutive: number of separate windows in a row that must drift before a training is started.
        cooldown_hours: minimum time between two trainings that drift starts.
        retrain: whether lasting drift starts the training deployment.
        notify: a notification block of Prefect, as `custom-webhook/NAME`, for lasting drift.
    """
    quiet_libraries()
    try:
        settings = service_settings()
        if not settings.drift:
            return Completed(name=NO_VERDICT, message="drift is not computed: MIEN_DRIFT is false")
        with compute_window(settings) as window:
            if window.result.verdict == "unknown":
                return failed(window.result.reason)
            actions = AlarmActions(cooldown=timedelta(hours=cooldown_hours), retrain=retrain, notify=notify)
            return _act(window, settings, actions, consecutive=consecutive)
    except WindowTooSmall as error:
        return Completed(name=NO_VERDICT, message=str(error))
    except (FlowError, PipelineError, ServingError) as error:
        return failed(str(error))


@dataclass(frozen=True, kw_only=True)
class AlarmActions:
    """Actions on lasting drift."""

    cooldown: timedelta
    retrain: bool
    notify: str | None


def _act(window: DriftWindow, settings: Settings, actions: AlarmActions, *, consecutive: int) -> State[Any]:
    """Act if drift lasts, then publish the result; failures to publish are part of the final state."""
    name, action = NO_DRIFT, "nothing: the window is like the reference"
    problems: list[str] = []
    if window.result.verdict == "drift":
        drifted = alarm.lasting_drift([window.result, *window.earlier], consecutive=consecutive)
        if drifted is None:
            name, action = DRIFT, _waiting(window, consecutive)
        else:
            name, action = ALARM, _raise_alarm(drifted, actions, problems)
    report = "/drift/report of the service"
    with _collect(problems):
        report = _log(window, settings) or report
    with _collect(problems):
        _add_to_workspace(window)
    publish.publish(window.result, report=report, action=action)
    message = "; ".join([f"{window.result.reason}; done: {action}", *problems])
    return failed(message) if problems else Completed(name=name, message=message)


def _waiting(window: DriftWindow, consecutive: int) -> str:
    separate = alarm.separate_windows([window.result, *window.earlier])
    count = next((i for i, result in enumerate(separate) if result.verdict != "drift"), len(separate))
    return f"nothing yet: {count} of {consecutive} windows in a row that have drifted"


def _raise_alarm(drifted: Sequence[DriftResult], actions: AlarmActions, problems: list[str]) -> str:
    """Start a training unless one runs or has just run, and notify; returns what was done."""
    reason = alarm.drift_reason(drifted)
    get_run_logger().warning("%s", reason)
    action = "no training: retrain is false"
    if actions.retrain:
        action = "no training"
        with _collect(problems):
            action = _retrain(drifted[0], reason, actions.cooldown)
    if actions.notify is not None:
        with _collect(problems):
            publish.notify(actions.notify, subject="mien: lasting drift", body=f"{reason}; {action}")
            action += f"; notified {actions.notify}"
    return action


def _retrain(newest: DriftResult, reason: str, cooldown: timedelta) -> str:
    with get_client(sync_client=True) as client:
        if running := alarm.running_training(client):
            return f"no training: {running.name} is already running"
        if recent := alarm.started_since(client, datetime.now(UTC) - cooldown):
            return (
                f"no training: {recent.name} was started less than {cooldown.total_seconds() / 3600:g} h ago"
            )
        key = f"drift {newest.model_sha256} {newest.time}"
        return f"started training {alarm.start_training(client, reason, key=key, tag=alarm.TAG).name}"


def _log(window: DriftWindow, settings: Settings) -> str | None:
    """Log the report to MLflow; returns Markdown that links to it, None for a model outside of a registry."""
    if window.html is None or not settings.model.startswith("models:"):
        return None
    uri = absolute_uri(settings.tracking_uri.reveal())
    return publish.log_to_version(window.identity, window.result, window.html, tracking_uri=uri)


def _add_to_workspace(window: DriftWindow) -> None:
    if window.snapshot is not None:
        columns = [column.name for column in window.result.columns]
        add_snapshot(window.snapshot, workspace=WORKSPACE, project=window.identity.name, columns=columns)


@contextmanager
def _collect(problems: list[str]) -> Iterator[None]:
    """Collect an error as a sentence for the run's final state, and continue."""
    try:
        yield
    except (FlowError, PipelineError) as error:
        get_run_logger().error("%s", error)
        problems.append(str(error))


def main() -> None:
    """Run the flow from the command line."""
    parser = argparse.ArgumentParser(
        description="Compare the newest observations with the model's reference."
    )
    parser.add_argument("--consecutive", type=int, default=3, help="number of windows that must drift (3)")
    parser.add_argument(
        "--cooldown-hours", type=float, default=24.0, help="minimum time between two trainings (24)"
    )
    parser.add_argument("--no-retrain", dest="retrain", action="store_false", help="do not start a training")
    parser.add_argument("--notify", help="notification block of Prefect, TYPE/NAME")
    run_command(drift, vars(parser.parse_args()), named=True)
