"""The results in git do not contradict each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.core.data_results import PrepareReport, ValidationReport, ValidationStamp
from pipelines.core.model_results import Export, TrainingRecord
from pipelines.core.records import read_record, write_record
from pipelines.core.results import Comparison, Evaluation, Latencies
from pipelines.gate.record import GateVerdict
from pipelines.robustness.record import Robustness
from tests.support.recorded_results import contradictions


def test_recorded_results_agree(repository: Path) -> None:
    assert contradictions(repository) == []


@pytest.mark.parametrize(
    ("pattern", "kind"),
    [
        ("models/*/training.json", TrainingRecord),
        ("onnx/*/export.json", Export),
        ("evaluations/*/metrics.json", Evaluation),
        ("reports/prepare.json", PrepareReport),
        ("reports/validation.json", ValidationReport),
        ("validation/passed.json", ValidationStamp),
        ("reports/latency.json", Latencies),
        ("reports/comparison.json", Comparison),
        ("reports/robustness.json", Robustness),
        ("reports/gate.json", GateVerdict),
    ],
)
def test_reading_and_writing_a_record_changes_no_byte(
    pattern: str, kind: type, repository: Path, tmp_path: Path
) -> None:
    found = sorted(repository.glob(pattern))
    assert found
    for path in found:
        write_record(tmp_path / path.name, read_record(path, kind, stage="some"))
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path
