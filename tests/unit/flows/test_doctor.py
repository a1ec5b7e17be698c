"""What `make doctor` finds in checkouts that lack something."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest

from flows import doctor
from flows.doctor import CHECKS, Finding, State, examine, rendered

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project with this repository's parameters and one commit."""
    for name in [name for name in os.environ if name.startswith(("MIEN_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "project"
    (root / "requirements").mkdir(parents=True)
    shutil.copyfile(REPOSITORY / "params.yaml", root / "params.yaml")
    (root / "requirements/dev.txt").write_text(f"numpy=={numpy.__version__} \\\n    --hash=sha256:0\n")
    monkeypatch.chdir(root)
    _git("init", "--quiet")
    _commit("first")
    return root


def _git(*arguments: str, **environment: str) -> None:
    identity = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    subprocess.run(["git", *arguments], check=True, env={**os.environ, **identity, **environment})


def _commit(message: str, **environment: str) -> None:
    _git("add", "--all")
    _git("commit", "--quiet", "--allow-empty", "--message", message, **environment)


def findings(root: Path, about: str) -> list[Finding]:
    return [finding for finding in examine(root) if finding.about == about]


def state(root: Path, about: str) -> State:
    (finding,) = findings(root, about)
    return finding.state


def test_every_check_says_something_and_every_fault_has_a_remedy(checkout: Path) -> None:
    found = list(examine(checkout))
    assert {finding.about for finding in found} == set(CHECKS)
    assert all(finding.remedy for finding in found if finding.state != "ok")
    for finding in found:
        line = rendered(finding)
        assert "\n" not in line
        assert finding.text in line
        assert (finding.remedy or "") in line


def test_packages_that_the_lock_file_does_not_have_are_named(checkout: Path) -> None:
    assert state(checkout, "packages") == "ok"
    (checkout / "requirements/dev.txt").write_text(
        "# a comment == 1\n"
        "numpy==0.1 \\\n    --hash=sha256:0\n    # via mien (pyproject.toml)\n"
        "no-such-package==2.0 ; python_version >= '3' \\\n    --hash=sha256:0\n"
        "only-elsewhere==3.0 ; sys_platform == 'nowhere' \\\n    --hash=sha256:0\n"
    )
    (finding,) = findings(checkout, "packages")
    assert finding.state == "problem"
    assert f"numpy is {numpy.__version__}, locked ==0.1" in finding.text
    assert "no-such-package is missing" in finding.text
    assert "only-elsewhere" not in finding.text


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def test_a_port_that_is_taken_is_named_with_what_chooses_another(
    checkout: Path, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "PORTS", {taken: "MIEN_PORT"})
    (finding,) = findings(checkout, "ports")
    assert finding.state == "note"
    assert str(taken) in finding.text
    assert "MIEN_PORT" in str(finding.remedy)


def test_data_are_asked_for_and_remotes_are_named(checkout: Path) -> None:
    assert state(checkout, "data") == "problem"
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet"], check=True)
    (checkout / "data").mkdir()
    assert [finding.state for finding in findings(checkout, "data")] == ["note", "note"]
    (checkout / "data.dvc").write_text("outs: []\n")
    subprocess.run(
        [sys.executable, "-m", "dvc", "remote", "add", "--quiet", "store", str(checkout.parent)], check=True
    )
    (finding,) = findings(checkout, "data")
    assert finding.state == "ok"
    assert "store" in finding.text


def test_a_damaged_database_is_a_problem_and_an_absent_one_is_not(checkout: Path) -> None:
    assert state(checkout, "database") == "ok"
    url = f"sqlite:///{checkout / 'observations.db'}"
    os.environ["MIEN_DATABASE_URL"] = url
    (checkout / "observations.db").write_bytes(b"no database " * 100)
    try:
        assert state(checkout, "database") == "problem"
        (checkout / "observations.db").unlink()
        sqlite3.connect(checkout / "observations.db").close()
        assert state(checkout, "database") == "ok"
    finally:
        del os.environ["MIEN_DATABASE_URL"]


def test_uncommitted_parameters_are_a_note_and_a_folder_without_git_is_a_problem(checkout: Path) -> None:
    assert state(checkout, "git") == "ok"
    with (checkout / "params.yaml").open("a") as file:
        file.write("# changed\n")
    assert state(checkout, "git") == "note"
    shutil.rmtree(checkout / ".git")
    assert state(checkout, "git") == "problem"


def test_a_clock_before_the_last_commit_is_wrong(checkout: Path) -> None:
    assert state(checkout, "clock") == "ok"
    _commit("from the future", GIT_COMMITTER_DATE=f"{int(time.time()) + 86_400} +0000")
    assert state(checkout, "clock") == "problem"


@pytest.mark.parametrize(
    ("name", "limit"), [("MIN_DISK_MB", "disk"), ("MIN_MEMORY_MIB", "memory"), ("MIN_CORES", "cores")]
)
def test_too_little_of_it_is_said(
    checkout: Path, name: str, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, name, 0)
    assert state(checkout, limit) == "ok"
    monkeypatch.setattr(doctor, name, 10**12)
    assert state(checkout, limit) != "ok"


def test_the_command_prints_json_and_fails_with_a_problem(checkout: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flows.doctor", "--json"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    found = {finding["about"]: finding["state"] for finding in json.loads(done.stdout)}
    assert (found["python"], found["data"]) == ("ok", "problem")
