"""The results in git do not contradict each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.core.data_results import PrepareReport, ValidationReport, ValidationStamp
from pipelines.core.errors import ResultCorrupt
from pipelines.core.model_results import Export, TrainingRecord
from pipelines.core.records import read_record, write_record
from pipelines.core.results import Comparison, Evaluation, Latencies
from pipelines.gate.record import GateVerdict
from tests.support.recorded_results import contradictions


@pytest.mark.xfail(
    strict=True,
    raises=FileNotFoundError,
    reason="recorded before the stage `machine`; the next recording of results takes this mark away",
)
def test_recorded_results_agree(repository: Path) -> None:
    assert contradictions(repository) == []


EARLIER = pytest.mark.xfail(
    strict=True,
    raises=ResultCorrupt,
    reason="recorded before the stage `machine`; the next recording of results takes this mark away",
)


@pytest.mark.parametrize(
    ("pattern", "kind"),
    [
        ("models/*/training.json", TrainingRecord),
        ("onnx/*/export.json", Export),
        ("evaluations/*/metrics.json", Evaluation),
        ("reports/prepare.json", PrepareReport),
        ("reports/validation.json", ValidationReport),
        ("validation/passed.json", ValidationStamp),
        pytest.param("reports/latency.json", Latencies, marks=EARLIER),
        pytest.param("reports/comparison.json", Comparison, marks=EARLIER),
        pytest.param("reports/gate.json", GateVerdict, marks=EARLIER),
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
