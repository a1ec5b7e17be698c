"""A project with a registry, answers and pictures, its backup, and commands that are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.dvc_project import REPOSITORY, new_project
from tests.support.http_service import picture_of, ready, serving, settings_in, until
from tests.support.mlflow_store import new_store
from tests.support.serving_models import LEVELS, NAME, FilledRegistry

STAGES = """
stages:
  prepare:
    cmd: wc -c data/faces.txt > prepared.txt && cp prepared.txt counted.txt
    deps: [data]
    outs:
    - prepared.txt
    - counted.txt: {cache: false}
"""


SECRET = "3f9d0c5b7a"  # noqa: S105 - the test's own


PICTURES = 3


@dataclass(frozen=True)
class Saved:
    """A project, what its service answered, and its archive."""

    root: Path
    archive: Path
    printed: str
    answers: list[Any]
    history: list[Any]


def run(
    module: str, *arguments: object, folder: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """A command of this repository in another project."""
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(REPOSITORY)} | environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@contextmanager
def service(root: Path) -> Iterator[Any]:
    """The service on the registry and the database of a project, keeping every picture."""
    settings = settings_in(
        root / ".mien", model=f"models:/{NAME}@production", tracking_uri=f"sqlite:///{root}/mlruns/mlflow.db",
        keep_images=1.0, drift=False,
    )  # fmt: skip
    with serving(settings) as client:
        yield ready(client)


def save_project(root: Path) -> Saved:
    """Make a project with a registry and kept answers, and back it up while its service runs."""
    project = new_project(root, stages=STAGES)
    project.run("dvc", "repro", "--quiet")
    project.write(".gitignore", "/data\n/prepared.txt\n/.mien/\n/mlruns/\n/.env\n")
    project.commit("Results")
    project.write(".env", f"PASSWORD={SECRET}")
    project.write(
        ".dvc/config.local", f"['remote \"store\"']\n    url = s3://faces\n    secret_access_key = {SECRET}\n"
    )
    files = root / "mlruns/artifacts" / NAME
    registry = FilledRegistry(new_store(root), files)
    experiment = registry.client.create_experiment(NAME, artifact_location=files.as_uri())
    run_id = registry.client.create_run(experiment).info.run_id
    registry.client.log_metric(run_id, "accuracy", 0.75)
    registry.promote(registry.add())
    with service(root) as client:
        registry.promote(registry.add(run_id=run_id, levels=LEVELS[::-1]))
        until(lambda: client.get("/model").json()["live"]["version"] == "2")
        answers = [client.post("/detect", content=picture_of(index)).json() for index in range(PICTURES)]
        until(lambda: all(client.get(f"/predictions/{one['id']}").status_code == 200 for one in answers))
        until(lambda: len(client.get("/model/history").json()["switches"]) == 2)
        history = client.get("/model/history").json()["switches"]
        # The service has the database open.
        done = run("flows.backup", root.parent / "store", folder=root)
    assert done.returncode == 0, done.stderr
    [archive] = (root.parent / "store").iterdir()
    return Saved(root=root, archive=archive, printed=done.stdout, answers=answers, history=history)


def listing(root: Path) -> dict[str, bytes]:
    """Files of a project without git's own and locks."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".git" not in path.parts and path.suffix != ".lock"
    }


def manifest_of(archive: Path) -> dict[str, Any]:
    with tarfile.open(archive) as tar:
        stream = tar.extractfile("manifest.json")
        assert stream is not None
        found: dict[str, Any] = json.load(stream)
        return found


@contextmanager
def big_file(root: Path) -> Iterator[Path]:
    """A picture that takes some tenths of a second to copy."""
    path = root / ".mien/pictures/2026-01-01/big.jpg"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.truncate(100_000_000)
    yield path


@contextmanager
def killed(root: Path, module: str, argument: Path, *, sign: Path, with_signal: int) -> Iterator[None]:
    """A command that is stopped, then killed, once something has appeared in the folder `sign`."""
    before = set(sign.iterdir()) if sign.exists() else set()
    with subprocess.Popen(
        [sys.executable, "-m", module, str(argument)],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    ) as process:
        while not (sign.exists() and set(sign.iterdir()) - before):
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(with_signal)
            process.send_signal(signal.SIGCONT)
        assert process.wait() != 0
