"""The drift flow: has the world moved away from the served model's data? Lasting drift starts a training.

    python -m flows.drift                                   # here and now
    prefect deployment run drift/drift                      # by the worker of `make up`

The window, its floor and the share of false alarms are the service's own settings,
MIEN_DRIFT_…; docs/drift.md says how a verdict is reached.
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
from serving.errors import ServingError, WindowTooSmall
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
    """Hold the newest observations against the served model's reference, and act when drift lasts.

    Args:
        consecutive: windows without a common observation that must drift before anything is started.
        cooldown_hours: after a training that drift started, none is started for so long.
        retrain: whether lasting drift starts the training deployment.
        notify: a notification block of Prefect, as `custom-webhook/NAME`, that is told of lasting drift.
    """
    quiet_libraries()
    try:
        settings = service_settings()
        if not settings.drift:
            return Completed(name=NO_VERDICT, message="drift is not computed: MIEN_DRIFT is false")
        with compute_window(settings) as seen:
            if seen.result.verdict == "unknown":
                return failed(seen.result.reason)
            act = AlarmActions(cooldown=timedelta(hours=cooldown_hours), retrain=retrain, notify=notify)
            return _concluded(seen, settings, act, consecutive=consecutive)
    except WindowTooSmall as error:
        return Completed(name=NO_VERDICT, message=str(error))
    except (FlowError, PipelineError, ServingError) as error:
        return failed(str(error))


@dataclass(frozen=True, kw_only=True)
class AlarmActions:
    """What lasting drift leads to."""

    cooldown: timedelta
    retrain: bool
    notify: str | None


def _concluded(seen: DriftWindow, settings: Settings, act: AlarmActions, *, consecutive: int) -> State[Any]:
    """Act when drift lasts, then keep and show everything; trouble with the showing is told, not hidden."""
    name, said = NO_DRIFT, "nothing: the window is like the reference"
    troubles: list[str] = []
    if seen.result.verdict == "drift":
        drifted = alarm.lasting_drift([seen.result, *seen.earlier], consecutive=consecutive)
        if drifted is None:
            name, said = DRIFT, _waiting(seen, consecutive)
        else:
            name, said = ALARM, _answer(drifted, act, troubles)
    report = "/drift/report of the service"
    with _told(troubles):
        report = _logged(seen, settings) or report
    with _told(troubles):
        _add_to_workspace(seen)
    publish.publish(seen.result, report=report, said=said)
    message = "; ".join([f"{seen.result.reason}; done: {said}", *troubles])
    return failed(message) if troubles else Completed(name=name, message=message)


def _waiting(seen: DriftWindow, consecutive: int) -> str:
    apart = alarm.separate_windows([seen.result, *seen.earlier])
    count = next((i for i, result in enumerate(apart) if result.verdict != "drift"), len(apart))
    return f"nothing yet: {count} of {consecutive} windows in a row that have drifted"


def _answer(drifted: Sequence[DriftResult], act: AlarmActions, troubles: list[str]) -> str:
    """Start a training unless one runs or has just run, and tell somebody; what was done, in words."""
    reason = alarm.drift_reason(drifted)
    get_run_logger().warning("%s", reason)
    said = "no training: retrain is false"
    if act.retrain:
        said = "no training"
        with _told(troubles):
            said = _retrained(drifted[0], reason, act.cooldown)
    if act.notify is not None:
        with _told(troubles):
            publish.notify(act.notify, subject="mien: the world has moved", body=f"{reason}; {said}")
            said += f"; told {act.notify}"
    return said


def _retrained(newest: DriftResult, reason: str, cooldown: timedelta) -> str:
    with get_client(sync_client=True) as client:
        if running := alarm.running_training(client):
            return f"no training: {running.name} is under way"
        if rested := alarm.started_since(client, datetime.now(UTC) - cooldown):
            return (
                f"no training: {rested.name} was started less than {cooldown.total_seconds() / 3600:g} h ago"
            )
        key = f"drift {newest.model_sha256} {newest.time}"
        return f"started training {alarm.start_training(client, reason, key=key, tag=alarm.TAG).name}"


def _logged(seen: DriftWindow, settings: Settings) -> str | None:
    """Where MLflow has the page, as Markdown; None for a model that is no version of a registry."""
    if seen.html is None or not settings.model.startswith("models:"):
        return None
    uri = absolute_uri(settings.tracking_uri.reveal())
    return publish.log_to_version(seen.identity, seen.result, seen.html, tracking_uri=uri)


def _add_to_workspace(seen: DriftWindow) -> None:
    if seen.snapshot is not None:
        columns = [column.name for column in seen.result.columns]
        add_snapshot(seen.snapshot, workspace=WORKSPACE, project=seen.identity.name, columns=columns)


@contextmanager
def _told(troubles: list[str]) -> Iterator[None]:
    """What goes wrong beside the verdict ends as a sentence in the run's state."""
    try:
        yield
    except (FlowError, PipelineError) as error:
        get_run_logger().error("%s", error)
        troubles.append(str(error))


def main() -> None:
    """Run the flow from the command line."""
    parser = argparse.ArgumentParser(
        description="Hold the newest observations against the model's reference."
    )
    parser.add_argument("--consecutive", type=int, default=3, help="windows that must drift (3)")
    parser.add_argument("--cooldown-hours", type=float, default=24.0, help="rest after a training (24)")
    parser.add_argument("--no-retrain", dest="retrain", action="store_false", help="start no training")
    parser.add_argument("--notify", help="notification block of Prefect, TYPE/NAME")
    run_command(drift, vars(parser.parse_args()), named=True)
