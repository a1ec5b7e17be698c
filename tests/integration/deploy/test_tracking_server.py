"""MLflow as docker-compose.yml starts it: tables in PostgreSQL, files in a store that speaks S3."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from flows.dev_stack.wait import is_healthy
from tests.support.compose import compose, new_variables
from tests.support.http_process import START_S, free_port
from tests.support.http_service import until
from tests.support.postgres import running_postgres


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, store: str) -> Iterator[dict[str, str]]:
    """Of the compose file's `mlflow`, with this test's addresses instead of the containers' names."""
    repository = Path(__file__).parents[3]
    variables = new_variables(repository, tmp_path_factory.mktemp("variables"))
    service: dict[str, Any] = compose(repository, variables)["services"]["mlflow"]
    with running_postgres() as postgres:
        given = service["environment"] | {
            "HOST": "127.0.0.1",
            "MLFLOW_PORT": str(free_port()),
            "AWS_ENDPOINT_URL": store,
            "MLFLOW_S3_ENDPOINT_URL": store,
            # The compose file's driver, which pgserver's own address does not name.
            "MLFLOW_BACKEND_STORE_URI": postgres.new_database().replace(
                "postgresql://", "postgresql+psycopg://", 1
            ),
        }
        assert service["environment"]["MLFLOW_BACKEND_STORE_URI"].startswith("postgresql+psycopg://")
        yield {name: str(value) for name, value in given.items()}


def run(module: str, *arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=os.environ | environment, capture_output=True, text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def mlflow(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    assert (
        run("flows.dev_stack.bucket", "mien", environment=environment).stdout == "the bucket mien was made\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.dev_stack.mlflow_server"],
        # Like the image: nothing of the checkout's own mlruns/ is in reach.
        cwd=tmp_path_factory.mktemp("app"),
        env=os.environ | environment | {"PYTHONPATH": str(Path(__file__).parents[3])},
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{environment['MLFLOW_PORT']}"
    try:
        until(lambda: process.poll() is not None or is_healthy(f"{url}/health"), START_S)
        assert process.poll() is None
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(START_S)


def test_the_bucket_is_made_once(environment: dict[str, str], mlflow: str) -> None:
    again = run("flows.dev_stack.bucket", "mien", environment=environment)
    assert (again.returncode, again.stdout) == (0, "the bucket mien is there\n")


def test_a_store_that_is_away_is_reported_in_one_line(environment: dict[str, str]) -> None:
    away = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}", "AWS_MAX_ATTEMPTS": "1"}
    failed = run("flows.dev_stack.bucket", "mien", environment=environment | away)
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: the bucket mien: ")
    assert failed.stderr.count("\n") == 1


def test_a_model_goes_through_the_server_into_the_store(
    mlflow: str, environment: dict[str, str], tmp_path: Path
) -> None:
    """The client has no key of the store."""
    from mlflow import MlflowClient
    from mlflow.artifacts import download_artifacts

    client = MlflowClient(tracking_uri=mlflow)
    run_id = client.create_run(client.create_experiment("e")).info.run_id
    (tmp_path / "model.onnx").write_bytes(b"model")
    client.log_artifact(run_id, str(tmp_path / "model.onnx"), "model")
    client.create_registered_model("emotion")
    source = client.get_run(run_id).info.artifact_uri
    assert source.startswith("mlflow-artifacts:/")
    version = client.create_model_version("emotion", source=f"{source}/model", run_id=run_id)
    client.set_registered_model_alias("emotion", "production", version.version)
    assert client.get_model_version_by_alias("emotion", "production").version == version.version
    fetched = download_artifacts(
        artifact_uri=f"runs:/{run_id}/model/model.onnx", dst_path=str(tmp_path / "back"), tracking_uri=mlflow
    )
    assert Path(fetched).read_bytes() == b"model"
    assert stored(environment) == {b"model"}


def stored(environment: dict[str, str]) -> set[bytes]:
    """What lies in the bucket, below the compose file's prefix."""
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        region_name=environment["AWS_DEFAULT_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )
    listed = client.list_objects_v2(Bucket="mien", Prefix="mlflow/")["Contents"]
    return {client.get_object(Bucket="mien", Key=found["Key"])["Body"].read() for found in listed}
