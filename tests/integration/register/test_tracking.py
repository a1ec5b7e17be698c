"""Where MLflow lies, and what is said when it cannot be used."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import yaml

from pipelines.core import paths
from pipelines.core.errors import RegistryError
from pipelines.core.params import load_params
from pipelines.gate.stage import judge_selected
from pipelines.register.stage import register
from pipelines.tracking import runs as tracking
from tests.support.gate_scores import NO_THRESHOLDS
from tests.support.mlflow_store import new_store
from tests.support.registry_world import World

UNUSED_ADDRESS = "http://127.0.0.1:9"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    new_store(tmp_path)
    return tmp_path


def one_line(error: pytest.ExceptionInfo[RegistryError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_without_a_setting_it_is_the_checkout_s_own(checkout: Path) -> None:
    import mlflow

    assert tracking.tracking_uri() == f"sqlite:///{checkout / 'mlruns/mlflow.db'}"
    experiment_id = tracking.configure("faces & co")
    location = mlflow.MlflowClient().get_experiment(experiment_id).artifact_location
    assert location == (checkout / "mlruns/artifacts/faces___co").as_uri()
    assert tracking.configure("faces & co") == experiment_id


def test_stages_that_start_together_make_the_tables_once(tmp_path: Path) -> None:
    (tmp_path / "mlruns").mkdir()
    code = "from pipelines.tracking.runs import configure; print(configure('emotion'))"
    environment = os.environ | {"PYTHONPATH": str(Path(tracking.__file__).parents[2])}
    stages = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(3)
    ]
    said = [stage.communicate(timeout=300) for stage in stages]
    assert [stage.returncode for stage in stages] == [0, 0, 0], said
    assert len({out for out, _ in said}) == 1, "one experiment for all"


def test_environment_decides(checkout: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import mlflow

    elsewhere = new_store(tmp_path / "elsewhere")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", elsewhere)
    experiment_id = tracking.configure("emotion")
    # Beside that database: the current folder may be a copy that will be thrown away.
    location = mlflow.MlflowClient().get_experiment(experiment_id).artifact_location
    assert location == (tmp_path / "elsewhere/mlruns/artifacts/emotion").as_uri()


def queued(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to where DVC runs a queued experiment of `checkout`."""
    copy = checkout / ".dvc/tmp/exps/temp1"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    return copy


def test_queued_experiment_logs_where_its_checkout_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    copy = queued(tmp_path, monkeypatch)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking.tracking_uri() == f"sqlite:///{tmp_path}/mlruns/mlflow.db"
    experiment_id = tracking.configure("emotion")
    location = mlflow.MlflowClient().get_experiment(experiment_id).artifact_location
    assert location == (tmp_path / "mlruns/artifacts/emotion").as_uri()
    assert not (copy / "mlruns").exists()


def test_scratch_copy_needs_an_absolute_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = queued(tmp_path, monkeypatch)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlruns/mlflow.db")
    with pytest.raises(RegistryError, match="scratch copy") as caught:
        tracking.configure("emotion")
    assert "MLFLOW_TRACKING_URI" in one_line(caught)
    assert not (copy / "mlruns").exists()


def test_marked_copy_is_a_scratch_copy_too(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_SCRATCH", "1")
    with pytest.raises(RegistryError, match="scratch copy"):
        tracking.tracking_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example:5000")
    assert tracking.tracking_uri() == "http://mlflow.example:5000"


@pytest.mark.parametrize("uri", ["./mlruns", "mlruns", "/var/mlruns", "file:///var/mlruns"])
def test_plain_folder_is_refused(checkout: Path, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(RegistryError, match="plain folder"):
        tracking.configure("emotion")


def test_unknown_scheme_is_refused(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "gopher://mlflow")
    with pytest.raises(RegistryError, match="MLflow does not support this address"):
        tracking.configure("emotion")


def test_missing_server_is_reported_in_one_line(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", UNUSED_ADDRESS)
    with pytest.raises(RegistryError, match="no server answers") as caught:
        tracking.configure("emotion")
    assert UNUSED_ADDRESS in one_line(caught)


def test_damaged_database_is_reported_in_one_line(checkout: Path) -> None:
    (checkout / paths.MLFLOW_DATABASE).write_bytes(b"no database" * 1000)
    with pytest.raises(RegistryError, match="damaged or not an SQLite database") as caught:
        tracking.configure("emotion")
    one_line(caught)


def test_database_of_another_version_is_reported_in_one_line(checkout: Path) -> None:
    with closing(sqlite3.connect(checkout / paths.MLFLOW_DATABASE)) as database:
        database.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
        database.commit()
    with pytest.raises(RegistryError, match="mlflow db upgrade") as caught:
        tracking.configure("emotion")
    one_line(caught)


def test_deleted_experiment_is_reported_with_its_remedy(checkout: Path) -> None:
    import mlflow

    experiment_id = tracking.configure("emotion")
    mlflow.MlflowClient().delete_experiment(experiment_id)
    with pytest.raises(RegistryError, match=f"mlflow experiments restore -x {experiment_id}"):
        tracking.configure("emotion")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        yield
        database.execute("ROLLBACK")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "_LOCK_TIMEOUT_S", 0.1)
    monkeypatch.setattr(tracking, "_LOCK_PAUSES_S", (0.01,))


@pytest.mark.usefixtures("impatient")
def test_locked_registry_loses_nothing(world: World) -> None:
    params = world.params(min_accuracy=0.1)
    judge_selected(Path(), params)
    with (
        locked(world.root / paths.MLFLOW_DATABASE),
        pytest.raises(RegistryError, match="locked by another process") as caught,
    ):
        register(Path(), params)
    one_line(caught)
    assert not (world.root / paths.REGISTERED).exists()
    assert "emotion version 1" in register(Path(), params)


@pytest.mark.usefixtures("impatient")
def test_lock_that_goes_away_is_waited_for(tmp_path: Path) -> None:
    tries = iter([True, False])

    def operation() -> str:
        with (
            closing(sqlite3.connect(tmp_path / "x.db", timeout=0)) as other,
            closing(sqlite3.connect(tmp_path / "x.db", timeout=0)) as ours,
        ):
            if next(tries):
                other.execute("BEGIN EXCLUSIVE")
            ours.execute("CREATE TABLE numbers (number)")
        return "done"

    assert tracking.retrying("sqlite:///x", operation) == "done"


def test_files_that_cannot_be_stored_register_nothing(world: World) -> None:
    import mlflow

    tracking.configure("emotion")
    experiment = mlflow.MlflowClient().get_experiment_by_name("emotion")
    assert experiment is not None
    # In the place of the folder stands a file: writing below it fails, as on a full disk.
    (world.root / paths.MLFLOW_ARTIFACTS).write_text("full")
    params = world.params(min_accuracy=0.1)
    judge_selected(Path(), params)
    with pytest.raises(RegistryError) as caught:
        register(Path(), params)
    one_line(caught)
    assert not (world.root / paths.REGISTERED).exists()
    (world.root / paths.MLFLOW_ARTIFACTS).unlink()
    assert "emotion version 1" in register(Path(), params)


def test_command_ends_with_one_line_and_the_status_of_an_outage(world: World, repository: Path) -> None:
    (world.root / "params.yaml").write_text((repository / "params.yaml").read_text())
    for name in ("vgg", "mobilenet_v2", "resnet50", "efficientnet_b4", "vit", "vit_pretrained"):
        world.add_model(name)
    judge_selected(Path(), load_params())
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.register"],
        env=os.environ | {"PYTHONPATH": str(repository), "MLFLOW_TRACKING_URI": UNUSED_ADDRESS},
        capture_output=True,
        text=True,
    )
    assert done.returncode == os.EX_TEMPFAIL
    assert done.stderr.startswith(f"error: MLflow at {UNUSED_ADDRESS}")
    assert len(done.stderr.splitlines()) == 1


def command(
    folder: Path, repository: Path, *arguments: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command of the pipeline in a folder that holds a project."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(repository)} | variables,
        capture_output=True,
        text=True,
    )


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def project(world: World, repository: Path) -> Path:
    """A project whose pipeline has run up to `register`, in a folder with a space."""
    values = yaml.safe_load((repository / "params.yaml").read_text())
    values["gate"] |= NO_THRESHOLDS | {"min_accuracy": 0.1}
    values["architectures"] = ["lenet"]
    (world.root / "params.yaml").write_text(yaml.safe_dump(values))
    project = world.root / "the original"
    shutil.copytree(world.root, project, ignore=shutil.ignore_patterns("mlruns", project.name))
    new_store(project)
    return project


@pytest.fixture
def registered(project: Path, repository: Path) -> Path:
    """A project with one registered version, made by the stages' own commands."""
    for stage in ("pipelines.gate", "pipelines.register"):
        done = command(project, repository, stage)
        assert done.returncode == 0, done.stderr
    return project


def test_a_copied_project_leaves_the_original_alone(
    registered: Path, repository: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "a copy"
    shutil.copytree(registered, copy)
    before = listing(registered)
    shutil.rmtree(copy / paths.CHECKPOINTS, ignore_errors=True)
    for refused in (
        ["pipelines.register"],
        ["pipelines.tracking.registry"],
        ["pipelines.tracking.relocation", "--check"],
    ):
        done = command(copy, repository, *refused)
        assert done.returncode == 1, refused
        assert len(done.stderr.splitlines()) == 1
        assert str(registered / paths.MLRUNS) in done.stderr
        assert str(copy / paths.MLRUNS) in done.stderr
        assert "make relocate" in done.stderr
    moved = command(copy, repository, "pipelines.tracking.relocation")
    assert moved.returncode == 0, moved.stderr
    # Everything that MLflow records is the copy's own now, and there.
    with closing(sqlite3.connect(copy / paths.MLFLOW_DATABASE)) as database:
        dump = "\n".join(database.iterdump())
    assert registered.as_uri() not in dump
    assert (copy / paths.MLRUNS).as_uri() in dump
    (copy / paths.GATE).unlink()
    for stage in ("pipelines.gate", "pipelines.register"):
        done = command(copy, repository, stage)
        assert done.returncode == 0, done.stderr
    assert listing(registered) == before, "nothing was written into the original"
    assert "already" in command(copy, repository, "pipelines.tracking.relocation").stdout
    assert command(copy, repository, "pipelines.tracking.relocation", "--check").returncode == 0


def test_a_moved_project_serves_its_own_files_after_one_command(
    registered: Path, repository: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "elsewhere"
    registered.rename(moved)
    assert command(moved, repository, "pipelines.tracking.registry").returncode == 1
    assert command(moved, repository, "pipelines.tracking.relocation").returncode == 0
    code = (
        "from pipelines.tracking import runs as tracking; from pipelines.tracking.registry import Registry\n"
        "registry = Registry('emotion', uri=tracking.connect())\n"
        "with registry.downloaded(registry.get(1)) as folder: print(sorted(p.name for p in folder.iterdir()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=moved,
        env=os.environ | {"PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
    )
    assert "model.onnx" in done.stdout, done.stderr


def test_a_database_without_its_files_is_not_pointed_at_nothing(
    registered: Path, repository: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "only the database"
    (copy / paths.MLRUNS).mkdir(parents=True)
    shutil.copyfile(registered / paths.MLFLOW_DATABASE, copy / paths.MLFLOW_DATABASE)
    done = command(copy, repository, "pipelines.tracking.relocation")
    assert done.returncode == 1
    assert f"cp -r {registered / paths.MLFLOW_ARTIFACTS}" in done.stderr
    shutil.copytree(registered / paths.MLFLOW_ARTIFACTS, copy / paths.MLFLOW_ARTIFACTS)
    assert command(copy, repository, "pipelines.tracking.relocation").returncode == 0


def test_a_project_behind_a_link_is_in_its_place(registered: Path, repository: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(registered)
    done = command(link, repository, "pipelines.tracking.registry")
    assert done.returncode == 0, done.stderr


def test_a_repository_of_another_owner_is_reported_with_git_s_reason_and_cure(
    project: Path, repository: Path, tmp_path: Path
) -> None:
    for arguments in (
        ("init", "--quiet"),
        ("add", "params.yaml"),
        ("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "--message", "Start"),
    ):
        subprocess.run(["git", *arguments], cwd=project, check=True)
    # Git's own switch for its own tests: every repository is another user's.
    other = {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1", "GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig")}
    judged = command(project, repository, "pipelines.gate", **other)
    assert judged.returncode == 0, judged.stderr
    done = command(project, repository, "pipelines.register", **other)
    assert done.returncode == 0, done.stderr
    [warning] = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert "detected dubious ownership" in warning
    cure = re.search(r"`(git config --global --add safe\.directory .+)`", warning)
    assert cure
    assert "unknown" in command(project, repository, "pipelines.tracking.registry").stdout

    asked = ["git", "rev-parse", "HEAD"]
    assert subprocess.run(asked, cwd=project, env=os.environ | other, capture_output=True).returncode != 0
    subprocess.run(shlex.split(cure[1]), env=os.environ | other, check=True)
    assert subprocess.run(asked, cwd=project, env=os.environ | other, capture_output=True).returncode == 0
