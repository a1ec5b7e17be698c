"""What stands in Prefect's pages: names, tables, verdicts, failed expectations, progress."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from prefect.client.schemas.objects import State, StateType

from flows.repro.progress import percent_done
from flows.repro.scheduler import PlanProgress
from flows.settings import OWN, profile_of, reason
from flows.training import artifacts
from flows.training.report import place_report
from flows.training.summary import SHOWN, current_results
from pipelines.core import paths
from pipelines.core.data_results import ValidationReport
from pipelines.core.errors import RegistryError
from pipelines.register.status import Decision, RegisteredVersion, RegistryStatus, decide
from tests.support.report_data import expectation
from tests.support.results import check, evaluation, row, verdict

ROW = row(
    evaluation(
        "vgg", size_mb=7.9156, ece=0.0526, balanced_accuracy=0.76,
        accuracy=0.76, accuracy_low=0.714, accuracy_high=0.806,
        macro_f1=0.761, macro_f1_low=0.709, macro_f1_high=0.812,
    ),
    p50_ms=2.502,
)  # fmt: skip

CHECKS = [
    check("min_accuracy", reason="accuracy is 0.760", value=0.76, threshold=0.4, production=0.7),
    check("smoke", reason="the file loads"),
]
REGISTERED = Decision(
    architecture="vgg",
    passed=True,
    reasons=[],
    model="emotion",
    version=RegisteredVersion(number=3, sha256="ab" * 32, aliases=("candidate", "production")),
)


def test_comparison_row_reads_like_the_terminal_s_table() -> None:
    cells = artifacts.comparison_row(ROW, "vgg")
    assert cells["architecture"] == "→ vgg"
    assert cells["accuracy"] == "0.760 (0.71–0.81)"
    assert cells["macro-F1"] == "0.761 (0.71–0.81)"
    assert (cells["balanced"], cells["ECE"]) == ("0.760", "0.053")
    assert (cells["p50 ms"], cells["MB"], cells["passed over"]) == ("2.50", "7.9", "")
    over = artifacts.comparison_row(replace(ROW, reason="too slow"), "lenet")
    assert (over["architecture"], over["passed over"]) == ("vgg", "too slow")


def test_verdict_links_to_the_version_and_the_report() -> None:
    said = artifacts.verdict(
        REGISTERED, CHECKS, tracking_uri="http://mlflow:5000/", report="[report.html](http://there)"
    )
    assert said.startswith("## vgg passed the quality gate")
    assert (
        "[emotion version 3](http://mlflow:5000/#/models/emotion/versions/3) (candidate, production)" in said
    )
    assert "**Report:** [report.html](http://there)" in said
    assert "| ✓ | accuracy is 0.760 | 0.76 | 0.4 | 0.7 |" in said
    assert "| ✓ | the file loads |  |  |  |" in said


def test_held_version_is_not_called_passed() -> None:
    held = replace(REGISTERED, held=True, reasons=["unclear whether the drop is below 0.02"])
    unclear = [check("max_accuracy_drop", unclear=True, reason="unclear whether")]
    said = artifacts.verdict(held, unclear, tracking_uri="sqlite:///x.db", report="`report.html`")
    assert said.startswith("## vgg is held")
    assert "* unclear whether the drop is below 0.02" in said
    assert "| ? | unclear whether |" in said


def test_rejection_gives_its_reasons() -> None:
    decision = Decision(architecture="vgg", passed=False, reasons=["accuracy is 0.1, but 0.4 is required"])
    said = artifacts.verdict(decision, CHECKS, tracking_uri="sqlite:///x.db", report="`report.html`")
    assert said.startswith("## vgg did not pass the quality gate\n\n* accuracy is 0.1, but 0.4 is required")
    assert "**Registered:** no" in said


def test_file_store_has_no_page_to_link_to() -> None:
    said = artifacts.verdict(
        REGISTERED, CHECKS, tracking_uri="sqlite:////home/me/mlflow.db", report="`report.html`"
    )
    assert "**Registered:** emotion version 3 (candidate, production)" in said


def test_broken_expectations_are_reported_in_their_own_words() -> None:
    checks = (
        expectation("labels", message="fine"),
        expectation("paths", passed=False, message="no path stands twice: 2 of 9 rows fail"),
    )
    said = artifacts.expectations(ValidationReport(passed=False, dataset="d" * 64, checks=checks))
    assert said == (
        "## 1 of 2 expectations about the data hold\n\n* **critical**: no path stands twice: 2 of 9 rows fail"
    )


@pytest.mark.parametrize(
    ("line", "percent"),
    [
        ("vgg  epoch 3 (train 3/20)  431 images/s  1:20 left  loss 1.9", 15.0),
        ("vit_pretrained  epoch 4 (fine tune 2/8)  1,431 images/s  1:01:20 left  loss 1.9", 25.0),
        ("vgg  epoch 3 (train 3/20) ███░░  12%  431 images/s  1:20 left  loss 1.9", None),
        ("vgg  resuming after epoch 7", 0.0),
        ("Running stage 'train@vgg':", None),
    ],
)
def test_progress_is_read_from_finished_epochs(line: str, percent: float | None) -> None:
    assert percent_done(line) == percent


@pytest.mark.parametrize(
    ("given", "tags", "expected"),
    [
        ("the data changed", [], "the data changed"),
        (" because  the\ndata changed ", [], "the data changed"),
        ("", ["mien", "auto-scheduled"], "it is time (schedule)"),
        ("", [], "somebody asked for it"),
    ],
)
def test_reason_of_a_run(given: str, tags: list[str], expected: str) -> None:
    assert reason(given, tags) == expected


def test_profile_is_recognised_by_its_settings(repository: Path, tmp_path: Path) -> None:
    from pipelines.profile import compose

    (tmp_path / "conf").symlink_to(repository / "conf")
    (tmp_path / "params.yaml").write_text(compose("tiny", tmp_path / "conf"))
    assert profile_of(tmp_path) == "tiny"
    (tmp_path / "params.yaml").write_text("seed: 1")
    assert profile_of(tmp_path) == OWN
    (tmp_path / "params.yaml").unlink()
    assert profile_of(tmp_path) == OWN


def test_report_without_a_server_is_a_file(tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    report.write_text("report")
    assert place_report(report, REGISTERED, tracking_uri="sqlite:///x.db") == f"`{report}`"
    # Nothing was registered, so that there is no run to put it beside.
    assert place_report(report, None, tracking_uri="http://127.0.0.1:1") == f"`{report}`"


def state(kind: StateType) -> State[object]:
    return State(type=kind)


def test_results_of_an_earlier_run_are_not_shown(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").symlink_to(repository / "dvc.yaml")
    for path in SHOWN:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("{}")
    began_s = (tmp_path / paths.REPORT).stat().st_mtime + 1
    states = {"validate": state(StateType.COMPLETED), "compare": state(StateType.FAILED)}
    stopped = PlanProgress(states=states)
    assert current_results(stopped, tmp_path, since_s=began_s) == {paths.VALIDATION_REPORT}
    # A stage that failed after it wrote its report: that one is of this run.
    failed = PlanProgress(states={"validate": state(StateType.FAILED)})
    assert current_results(failed, tmp_path, since_s=began_s) == set()
    assert current_results(failed, tmp_path, since_s=began_s - 60) == {paths.VALIDATION_REPORT}


def test_only_a_new_version_is_called_registered() -> None:
    judged = verdict(CHECKS)
    now = RegistryStatus(model="emotion", versions=(REGISTERED.version,) if REGISTERED.version else ())
    empty = RegistryStatus(model="emotion", versions=())

    def ask() -> RegistryStatus:
        return now

    def fail() -> RegistryStatus:
        raise RegistryError(uri="sqlite:///x.db", reason="it is locked", remedy="wait")

    assert decide(judged, before=empty, ask=ask).new
    assert not decide(judged, before=now, ask=ask).new
    assert not decide(judged, before=None, ask=ask).new
    assert str(decide(judged, before=empty, ask=ask)).startswith("Registered: emotion version 3")
    assert str(decide(judged, before=now, ask=ask)).startswith("Already registered: emotion version 3")
    assert decide(judged, before=now, ask=lambda: empty).version is None
    assert "it is locked" in (decide(judged, before=now, ask=fail).problem or "")
