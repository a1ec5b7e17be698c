"""The last stage turns `gate.json` into an exit status."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.core.errors import GateRejected, ResultCorrupt
from pipelines.core.io import write_json
from pipelines.verdict import verdict

PASSED: dict[str, Any] = {
    "architecture": "vgg",
    "passed": True,
    "experiment": None,
    "reasons": [],
}
FAILED = PASSED | {"passed": False, "reasons": ["accuracy is too low", "sad is lost"]}


def said(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "gate.json"
    write_json(path, content)
    return path


def test_pass_is_reported_in_one_line(tmp_path: Path) -> None:
    assert verdict(said(tmp_path, PASSED)) == "vgg passed the quality gate"


def test_failure_names_every_reason(tmp_path: Path) -> None:
    with pytest.raises(GateRejected, match="was not registered: accuracy is too low; sad is lost"):
        verdict(said(tmp_path, FAILED))


def test_experiment_passes_for_every_verdict_of_the_gate(tmp_path: Path) -> None:
    path = said(tmp_path, FAILED | {"experiment": "lost-yeti"})
    assert verdict(path).startswith("vgg would not pass")


def test_damaged_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "gate.json"
    path.write_text("{")
    with pytest.raises(ResultCorrupt, match="not JSON"):
        verdict(path)


@pytest.mark.parametrize(("content", "status"), [(PASSED, 0), (FAILED, 1)])
def test_exit_status(tmp_path: Path, repository: Path, content: dict[str, Any], status: int) -> None:
    (tmp_path / "reports").mkdir()
    write_json(tmp_path / "reports/gate.json", content)
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.verdict"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == status
    assert len((done.stdout + done.stderr).splitlines()) == 1
