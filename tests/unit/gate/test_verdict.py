"""The last stage turns `gate.json` into an exit status."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.core.errors import GateRejected, ResultCorrupt
from pipelines.core.records import write_record
from pipelines.gate.record import GateVerdict, read_verdict
from pipelines.verdict import verdict
from tests.support import results

PASSED = results.verdict([results.check("min_accuracy")])
REASONS = ("accuracy is too low", "sad is lost")
REJECTING = [results.check("min_accuracy", passed=False, reason=reason) for reason in REASONS]
FAILED = results.verdict(REJECTING)


def said(folder: Path, content: GateVerdict) -> Path:
    path = folder / "gate.json"
    write_record(path, content)
    return path


def test_pass_is_reported_in_one_line(tmp_path: Path) -> None:
    assert verdict(said(tmp_path, PASSED)) == "vgg passed the quality gate"


def test_held_model_passes_and_says_why(tmp_path: Path) -> None:
    held = results.verdict([results.check("max_accuracy_drop", unclear=True, reason="unclear")], hold=True)
    assert verdict(said(tmp_path, held)) == "vgg is registered without an alias: unclear"
    assert read_verdict(tmp_path / "gate.json") == held


def test_hold_matters_only_to_a_model_that_passes(tmp_path: Path) -> None:
    checks = [results.check("max_accuracy_drop", unclear=True, reason="unclear")]
    assert results.verdict(checks).outcome == "passed"
    assert results.verdict([*checks, *REJECTING], hold=True).outcome == "failed"
    assert results.verdict([*checks, *REJECTING], hold=True).reasons == REASONS


def test_failure_names_every_reason(tmp_path: Path) -> None:
    with pytest.raises(GateRejected, match="was not registered: accuracy is too low; sad is lost"):
        verdict(said(tmp_path, FAILED))


def test_experiment_passes_for_every_verdict_of_the_gate(tmp_path: Path) -> None:
    path = said(tmp_path, results.verdict(REJECTING, experiment="lost-yeti"))
    assert verdict(path).startswith("vgg would not pass")


def test_damaged_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "gate.json"
    path.write_text("{")
    with pytest.raises(ResultCorrupt, match="not JSON"):
        verdict(path)


@pytest.mark.parametrize(("content", "status"), [(PASSED, 0), (FAILED, 1)])
def test_exit_status(tmp_path: Path, repository: Path, content: GateVerdict, status: int) -> None:
    (tmp_path / "reports").mkdir()
    write_record(tmp_path / "reports/gate.json", content)
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.verdict"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == status
    assert len((done.stdout + done.stderr).splitlines()) == 1
