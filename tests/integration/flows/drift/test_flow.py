"""The drift flow with a real registry, a real database, a real Prefect server and Evidently."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.states import Completed, Running

from flows.drift import alarm
from flows.drift.flow import drift
from flows.drift.publish import REPORT, TABLE
from tests.support.drifting import PEOPLE, ROWS, DriftWorld, drift_world
from tests.support.prefect_server import deployed, newest_artifact, runs_of
from tests.support.webhook import Webhook, receiving

pytestmark = pytest.mark.usefixtures("prefect_api")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DriftWorld:
    made = drift_world(tmp_path)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return made


@pytest.fixture
def client() -> Iterator[SyncPrefectClient]:
    with deployed("training", "training") as client:
        yield client


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with receiving("mien-test") as webhook:
        yield webhook


def run(**parameters: Any) -> tuple[str | None, str]:
    """Name and message of the last state."""
    state = drift(**{"consecutive": 2} | parameters, return_state=True)
    return state.name, state.message or ""


def artifact(client: SyncPrefectClient, key: str) -> str:
    return str(newest_artifact(client, key)["data"])


def test_lasting_drift_starts_one_training_and_tells_somebody(
    world: DriftWorld, client: SyncPrefectClient, webhook: Webhook
) -> None:
    world.see(range(100, 100 + PEOPLE), at=0)
    assert run(notify=webhook.block)[0] == "No drift"
    assert "nothing: the window is like the reference" in artifact(client, REPORT)

    world.see(range(200, 200 + PEOPLE), at=1000, share=0.7)
    name, said = run(notify=webhook.block)
    assert name == "Drift"
    assert "nothing yet: 1 of 2 windows in a row" in said
    assert not runs_of(client, "training")
    assert not webhook.received

    world.see(range(300, 300 + PEOPLE), at=2000, share=0.7)
    name, said = run(notify=webhook.block)
    assert name == "Alarm"
    started = runs_of(client, "training")
    assert len(started) == 1
    assert f"started training {started[0].name}" in said
    reason = started[0].parameters["reason"]
    assert "2 windows in a row differ from those of version 1" in reason
    assert "brightness" in reason
    assert alarm.TAG in started[0].tags
    assert len(webhook.received) == 1
    assert webhook.received[0]["subject"] == "mien: lasting drift"
    assert reason in webhook.received[0]["body"]
    shows_everything(world, client)

    world.see(range(400, 400 + PEOPLE), at=3000, share=0.7)
    name, said = run()
    assert name == "Alarm"
    assert f"no training: {started[0].name} is already running" in said
    assert len(runs_of(client, "training")) == 1


def test_a_failed_notification_shows_the_webhooks_host_only(
    world: DriftWorld, client: SyncPrefectClient, webhook: Webhook
) -> None:
    webhook.status = 403
    world.see(range(200, 200 + PEOPLE), at=0, share=0.7)
    name, said = run(notify=webhook.block, consecutive=1, retrain=False)
    assert name == "Failed"
    assert len(webhook.received) == 1
    assert "403" in said
    assert f"{webhook.url.partition('/services')[0]}/***" in said
    assert "s3cret" not in said + artifact(client, REPORT)


def shows_everything(world: DriftWorld, client: SyncPrefectClient) -> None:
    """Artifacts, the version's tags, its run's metrics and pages, and Evidently's workspace."""
    table, verdict = artifact(client, TABLE), artifact(client, REPORT)
    rows = json.loads(table)
    assert all(name for row in rows for name in row), "Prefect shows no column without a name"
    assert {row["column"]: row["moved"] for row in rows}["brightness"] == "yes"
    assert "brightness" in table
    assert f"{ROWS} observations from" in verdict
    assert "started training" in verdict
    mlflow = world.registry.client
    tags = mlflow.get_model_version("emotion", world.version).tags
    assert tags["drift.verdict"] == "drift"
    assert "brightness" in tags["drift.reason"]
    scores = mlflow.get_metric_history(world.run_id, "drift.brightness")
    assert len(scores) == 3
    assert scores[2].value > scores[0].value
    pages = [entry.path for entry in mlflow.list_artifacts(world.run_id, "drift")]
    assert "drift/latest.html" in pages
    # One of each of the two windows that drifted.
    assert len(pages) == 3
    assert f"`{pages[0]}`" in verdict or f"`{pages[1]}`" in verdict
    assert len(list((world.root / ".mien/evidently").glob("*/snapshots/*.json"))) == 3


def test_a_service_without_a_model_in_production_is_reported(world: DriftWorld) -> None:
    world.registry.demote()
    name, said = run()
    assert name == "Failed"
    assert "production" in said
    assert "\n" not in said


def test_an_empty_window_has_no_verdict_and_harms_nothing(world: DriftWorld) -> None:
    name, said = run()
    assert name == "No verdict"
    assert "no observations of version 1" in said


def test_evidently_failing_is_a_sentence(
    world: DriftWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken" / "evidently"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise RuntimeError('of no use today')")
    monkeypatch.setenv("PYTHONPATH", str(broken.parent))
    world.see(range(100, 100 + PEOPLE), at=0)
    name, said = run()
    assert name == "Failed"
    assert "of no use today" in said
    assert "\n" not in said


def test_switched_off_it_does_nothing(world: DriftWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_DRIFT", "false")
    assert run() == ("No verdict", "drift is not computed: MIEN_DRIFT is false")


def test_impossible_settings_are_named(world: DriftWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_DRIFT_FALSE_ALARMS", "7")
    name, said = run()
    assert name == "Failed"
    assert said.startswith("MIEN_DRIFT_FALSE_ALARMS: ")


def test_a_run_is_called_what_it_looks_at_and_why(
    client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_MODEL", "models:/faces@production")
    monkeypatch.setenv("MIEN_DRIFT", "false")
    drift(return_state=True)
    called = runs_of(client, "drift")[0].name
    assert called == "drift: models:/faces@production, because somebody asked for it"


def test_a_running_training_is_found_however_it_was_started(client: SyncPrefectClient) -> None:
    assert alarm.running_training(client) is None
    deployment = client.read_deployment_by_name(alarm.DEPLOYMENT)
    due = client.create_flow_run_from_deployment(deployment.id)
    assert alarm.running_training(client) == alarm.TrainingRun(name=due.name, id=str(due.id))
    client.set_flow_run_state(due.id, Running(), force=True)
    assert alarm.running_training(client) == alarm.TrainingRun(name=due.name, id=str(due.id))
    client.set_flow_run_state(due.id, Completed(), force=True)
    assert alarm.running_training(client) is None
    later = client.create_flow_run_from_deployment(deployment.id, state=_in_an_hour())
    assert later.state is not None
    assert alarm.running_training(client) is None


def _in_an_hour() -> Any:
    from prefect.states import Scheduled

    return Scheduled(scheduled_time=datetime.now(UTC) + timedelta(hours=1))


def test_after_a_training_that_drift_started_comes_rest(client: SyncPrefectClient) -> None:
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    assert alarm.started_since(client, hour_ago) is None
    client.create_flow_run_from_deployment(client.read_deployment_by_name(alarm.DEPLOYMENT).id)
    assert alarm.started_since(client, hour_ago) is None, "somebody else started it"
    started = alarm.start_training(client, "drift detected", key="one", tag=alarm.TAG)
    client.set_flow_run_state(_uuid(started.id), Completed(), force=True)
    assert alarm.started_since(client, hour_ago) == started
    assert alarm.started_since(client, datetime.now(UTC) + timedelta(seconds=60)) is None
    assert alarm.start_training(client, "drift detected", key="one", tag=alarm.TAG) == started


def _uuid(text: str) -> Any:
    from uuid import UUID

    return UUID(text)
