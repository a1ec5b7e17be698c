"""The compose file's programs side by side, from a training to a killed service, with its own settings.

Containers are processes here (tests.support.compose_stack); the tests use one stack, one after the other.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import psycopg
import pytest
import yaml
from mlflow import MlflowClient

from tests.support.compose_stack import PATIENCE_S, Stack, composed, said
from tests.support.http_service import until
from tests.support.project import copy_project
from tests.support.proxied_load import CLIENTS, Load
from tests.support.serving_models import model_folder, sha256_of

pytestmark = pytest.mark.emulation
REPOSITORY = Path(__file__).resolve().parents[2]
SERVICES = ("api-1", "api-2")
ORIGIN = "https://mlflow.example.org"
"""As reviewers' browsers reach MLflow."""
ASKED = 30
"""Pictures that each service is asked about: neither alone has seen enough for a verdict."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything is healthy, nothing was trained."""
    folder, source = tmp_path_factory.mktemp("stack"), tmp_path_factory.mktemp("source")
    changed = {"MIEN_DRIFT_MIN_ROWS": str(2 * ASKED), "MLFLOW_ALLOWED_ORIGINS": ORIGIN}
    with composed(REPOSITORY, source, folder, **changed) as stack:
        stack.start("postgres", "store", "bucket", "prefect", "mlflow")
        make_source(source)  # while those make their tables
        stack.start("worker", *SERVICES, "proxy", "prometheus")
        stack.wait(*stack.containers)
        yield stack


def make_source(root: Path) -> None:
    """A checkout with a reduced sample that was added as the guide to data has it, and pushed nowhere."""
    project = copy_project(REPOSITORY, root)
    project.run("python", "-m", "pipelines.profile", "tiny")
    project.edit_params(architectures=["lenet"])
    project.run("python", "-m", "sample_faces", "--per-class", "24", "--seed", "1", "--out", "data")
    (root / "data.dvc").unlink()
    project.run("dvc", "add", "data")
    project.commit("A reduced sample")


def prefect(stack: Stack, path: str, **asked: object) -> Any:
    """What Prefect's API answers with the password."""
    auth = ("admin", stack.variables["PREFECT_PASSWORD"])
    answer = httpx.post(f"{stack.url('prefect')}/api{path}", json=asked, auth=auth, timeout=PATIENCE_S)
    return answer.raise_for_status().json()


def finished(stack: Stack, flow: str) -> dict[str, Any]:
    """The state in which the flow's one run ends."""
    ends = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
    asked = {"flows": {"name": {"any_": [flow]}}, "flow_runs": {"state": {"type": {"any_": sorted(ends)}}}}
    deadline = time.monotonic() + PATIENCE_S
    while not (runs := prefect(stack, "/flow_runs/filter", **asked)):
        assert time.monotonic() < deadline, f"{flow} does not end; {stack.logs()[-4000:]}"
        time.sleep(1)
    return dict(runs[0]["state"])


def ask(stack: Stack, name: str, path: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {stack.keys['app']}"}
    return httpx.get(f"{stack.url(name)}{path}", headers=headers, timeout=PATIENCE_S)


def detect(stack: Stack, name: str, picture: bytes) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {stack.keys['app']}"}
    answer = httpx.post(
        f"{stack.url(name)}/detect", content=picture, headers=headers, timeout=PATIENCE_S
    ).raise_for_status()
    return dict(answer.json())


def is_live(stack: Stack, name: str, version: str) -> bool:
    live = ask(stack, name, "/model").json()["live"]
    return live is not None and live["version"] == version


def test_before_a_training_the_services_live_and_every_flow_can_be_started(stack: Stack) -> None:
    assert {ask(stack, name, "/livez").status_code for name in SERVICES} == {200}
    assert {ask(stack, name, "/readyz").status_code for name in SERVICES} == {503}
    offered = {found["name"] for found in prefect(stack, "/deployments/filter")}
    described = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["deployments"]
    assert offered == {deployment["name"] for deployment in described}


def test_what_has_a_schedule_is_planned(stack: Stack) -> None:
    """Prefect plans runs ahead: what it cannot write never starts, and nothing but a log says so."""
    described = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["deployments"]
    scheduled = {deployment["name"] for deployment in described if deployment.get("schedules")}
    assert scheduled >= {"training", "drift", "retention"}
    names = {found["id"]: found["name"] for found in prefect(stack, "/deployments/filter")}

    def planned() -> bool:
        waiting = prefect(stack, "/flow_runs/filter", flow_runs={"state": {"type": {"any_": ["SCHEDULED"]}}})
        return {names[run["deployment_id"]] for run in waiting if run["auto_scheduled"]} == scheduled

    until(planned, PATIENCE_S)


@pytest.fixture(scope="module")
def trained(stack: Stack) -> Stack:
    """The worker has trained, as the guide has it; both services follow."""
    stack.run("worker", "prefect", "deployment", "run", "training/training", "--param", "reason=first")
    state = finished(stack, "training")
    assert state["type"] == "COMPLETED", f"{state['message']}\n{stack.logs()[-4000:]}"
    until(lambda: all(is_live(stack, name, "1") for name in SERVICES), PATIENCE_S)
    return stack


def test_a_training_registers_its_model_with_its_files_in_the_store(trained: Stack) -> None:
    """The registry is asked through the proxy, as a reviewer's browser does."""
    asked = "/api/2.0/mlflow/registered-models/alias?name=emotion&alias=production"
    url = f"{trained.url('proxy-mlflow')}{asked}"
    assert httpx.get(url, timeout=PATIENCE_S).status_code == 401
    auth = ("admin", trained.variables["MLFLOW_PASSWORD"])
    version = httpx.get(url, auth=auth, timeout=PATIENCE_S).raise_for_status().json()["model_version"]
    assert version["version"] == "1"
    store = trained.containers["bucket"].environment
    client = boto3.client(
        "s3",
        endpoint_url=trained.url("store"),
        region_name=store["AWS_DEFAULT_REGION"],
        aws_access_key_id=store["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=store["AWS_SECRET_ACCESS_KEY"],
    )
    listed = client.list_objects_v2(Bucket="mien", Prefix="mlflow/")["Contents"]
    assert any(found["Key"].endswith("/model.onnx") for found in listed)
    # Files pass through the server: no client was redirected to the store with a signed address.
    assert "X-Amz-Credential" not in trained.logs()
    branches = trained.run("worker", "git", "branch", "--list", "training/*", folder="/var/lib/mien/checkout")
    assert len(branches.split()) == 1


def test_data_that_were_added_are_pushed_to_the_store_from_the_checkout(trained: Stack) -> None:
    """What the guide says to type; DVC's keys are the container's own."""
    said = trained.run("worker", "dvc", "push", "data.dvc", folder="/var/lib/mien/checkout")
    assert "pushed" in said


def test_both_services_answer_with_it_and_drift_is_of_what_both_saw(trained: Stack) -> None:
    pictures = sorted((trained.source / "data").glob("*/*"))[: 2 * ASKED]
    answers = [
        detect(trained, SERVICES[index % 2], picture.read_bytes()) for index, picture in enumerate(pictures)
    ]
    (model,) = {(answer["model"]["version"], answer["model"]["sha256"]) for answer in answers}
    assert model[0] == "1"
    url = trained.containers["api-1"].environment["MIEN_DATABASE_URL"].replace("+psycopg", "")
    ids = {answer["id"].partition("/")[0] for answer in answers}
    with psycopg.connect(url, autocommit=True) as database:

        def kept() -> set[str]:
            return {row[0].partition("/")[0] for row in database.execute("SELECT id FROM observations")}

        until(lambda: kept() >= ids, PATIENCE_S)
    until(lambda: all(verdict(trained, name) != "unknown" for name in SERVICES), PATIENCE_S)
    results = [ask(trained, name, "/drift").json() for name in SERVICES]
    assert results[0]["computed_at"] == results[1]["computed_at"]
    assert results[0]["window"]["total"] >= 2 * ASKED


def verdict(stack: Stack, name: str) -> str:
    return str(ask(stack, name, "/drift").json()["verdict"])


def test_prometheus_asks_every_service_with_its_key(trained: Stack) -> None:
    def answered() -> int:
        asked = {"query": 'sum(up{job="mien"}) + 0 * count(mien_requests_in_flight)'}
        found = httpx.get(f"{trained.url('prometheus')}/api/v1/query", params=asked, timeout=PATIENCE_S)
        return sum(int(row["value"][1]) for row in found.json()["data"]["result"])

    until(lambda: answered() == len(SERVICES), PATIENCE_S)


def test_retention_runs_on_the_worker_and_reads_the_services_database(trained: Stack) -> None:
    (deployment,) = prefect(trained, "/deployments/filter", deployments={"name": {"any_": ["retention"]}})
    prefect(trained, f"/deployments/{deployment['id']}/create_flow_run", state={"type": "SCHEDULED"})
    state = finished(trained, "retention")
    assert state["type"] == "COMPLETED", state["message"]
    assert "observations: none was old enough" in state["message"]


def test_a_promotion_through_the_proxy_reaches_both_services_and_costs_no_request(
    trained: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", trained.variables["MLFLOW_PASSWORD"])
    client = MlflowClient(tracking_uri=trained.url("proxy-mlflow"))
    (tmp_path / "model").mkdir()
    folder = model_folder(tmp_path / "model")
    run = client.create_run(client.create_experiment("by hand")).info
    client.log_artifacts(run.run_id, str(folder), "model")
    made = client.create_model_version(
        "emotion", f"{run.artifact_uri}/model", run.run_id, tags={"sha256": sha256_of(folder)}
    )
    with Load(trained.url("proxy"), trained.keys["app"]) as load:
        assert promoted(trained, made.version, origin="https://elsewhere.example.org") == 403
        assert promoted(trained, made.version, origin=ORIGIN) == 200
        until(lambda: all(is_live(trained, name, str(made.version)) for name in SERVICES), PATIENCE_S)
        load.goes_on()
    assert load.statuses.keys() == {200}
    assert load.broken == []


def promoted(stack: Stack, version: str, *, origin: str) -> int:
    """What a click in MLflow's page of a version sends, from a page of this origin; its status."""
    return httpx.post(
        f"{stack.url('proxy-mlflow')}/ajax-api/2.0/mlflow/registered-models/alias",
        json={"name": "emotion", "alias": "production", "version": version},
        headers={"Origin": origin},
        auth=("admin", stack.variables["MLFLOW_PASSWORD"]),
        timeout=PATIENCE_S,
    ).status_code


def test_a_service_that_is_stopped_under_load_costs_no_request(trained: Stack) -> None:
    with Load(trained.url("proxy"), trained.keys["app"]) as load:
        # Uvicorn ends by the signal itself, when everything is answered and closed.
        assert trained.stop("api-1") == -signal.SIGTERM
        assert "Finished server process" in said(trained.containers["api-1"])
        load.goes_on()
        trained.start("api-1")
        until(lambda: _ready(trained, "api-1"), PATIENCE_S)
        both_are_asked(trained)
    assert load.statuses.keys() == {200}
    assert load.broken == []


def test_a_service_that_is_killed_under_load_costs_no_more_than_answers_that_had_begun(
    trained: Stack,
) -> None:
    with Load(trained.url("proxy"), trained.keys["app"]) as load:
        both_are_asked(trained)
        trained.kill("api-2")
        load.goes_on()
    assert load.statuses.keys() == {200}
    assert len(load.broken) < CLIENTS
    assert all("without sending complete message body" in error for error in load.broken)


def both_are_asked(stack: Stack) -> None:
    """Wait until the proxy has asked both again: it does not ask a failed one for two seconds."""

    def answered(name: str) -> int:
        return stack.containers[name].log.read_text().count("POST /detect 200")

    before = {name: answered(name) for name in SERVICES}
    until(lambda: all(answered(name) > before[name] + CLIENTS for name in SERVICES), PATIENCE_S)


def _ready(stack: Stack, name: str) -> bool:
    try:
        return ask(stack, name, "/readyz").status_code == 200
    except httpx.TransportError:
        return False


def test_nothing_was_written_beside_volumes_and_memory_and_no_log_holds_a_secret(trained: Stack) -> None:
    """The containers' own file systems are read-only."""
    for name, container in trained.containers.items():
        written = [path for path in container.place.folders["/app"].iterdir() if not path.is_symlink()]
        assert written == [], name
    log = trained.logs()
    secrets = {name for name in trained.variables if name.endswith(("PASSWORD", "KEY"))}
    assert len(secrets) >= 9
    assert [name for name in sorted(secrets) if trained.variables[name] in log] == []
