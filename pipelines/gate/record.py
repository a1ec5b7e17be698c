"""The verdict of the quality gate, and its file `reports/gate.json`.

The file depends only on the gate's inputs: the model's bytes, the data, the thresholds, the measured
latencies and the production model. While these stay the same, the verdict remains valid and the file is not
rewritten; if one of them changes, for example a latency is measured again, the gate runs again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from pipelines.core.errors import ResultCorrupt
from pipelines.core.io import read_record
from pipelines.evaluate.timing import Timing
from pipelines.gate.rules import Check, as_json, reasons

STAGE = "gate"
_KEYS = (
    "architecture", "sha256", "dataset", "thresholds", "latency.p50_ms", "latency.timing", "production",
    "production_known", "experiment", "passed", "checks", "reasons",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Latency:
    """The gate's input from `reports/latency.json`."""

    p50_ms: float
    """Batch 1, one thread."""
    timing: Timing


@dataclass(frozen=True, kw_only=True)
class ProductionModel:
    """The production model that the selected model was compared with."""

    version: int
    sha256: str
    """SHA-256 of its file; `version-N` if the registry does not contain it."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Inputs of a verdict: the selected model, the data and the thresholds."""

    architecture: str
    """Name of the variant."""
    sha256: str
    """SHA-256 of the ONNX file."""
    dataset: str
    """Digest of the data set that contains the test pictures."""
    thresholds: str
    """Digest of the thresholds."""
    latency: Latency
    experiment: str | None
    """Name of the DVC experiment, in which nothing is registered; None outside an experiment."""


@dataclass(frozen=True, kw_only=True)
class GateVerdict:
    """Result of the quality gate."""

    subject: Subject
    checks: Sequence[Check]
    production: ProductionModel | None
    """None if nothing, or this same file, is in production."""
    production_known: bool = True
    """False if the registry could not be reached."""

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def digest(self) -> str:
        """Hash of the verdict; changes if any part of it changes."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def holds(self, subject: Subject, production: ProductionModel | None) -> bool:
        """Whether the verdict is still valid for `subject` and this production model.

        If the file has been promoted since, it is not compared with itself: the earlier comparison counts.
        """
        if not self.production_known or self.subject != subject:
            return False
        now, then = (one.sha256 if one else None for one in (production, self.production))
        return now in (then, subject.sha256)

    def to_json(self) -> dict[str, Any]:
        """Return the content of `reports/gate.json`."""
        experiment = self.subject.experiment
        note = [f"experiment {experiment}: nothing is registered"] if experiment else []
        return {
            **asdict(self.subject),
            "passed": self.passed,
            "checks": as_json(self.checks),
            "production": asdict(self.production) if self.production else None,
            "production_known": self.production_known,
            "reasons": reasons(self.checks) + note,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Create from the output of `to_json`; raises `KeyError`, `TypeError` or `ValueError` if damaged."""
        production, latency = record["production"], record["latency"]
        return cls(
            subject=Subject(
                **{name: record[name] for name in ("architecture", "sha256", "dataset", "thresholds")},
                latency=Latency(p50_ms=float(latency["p50_ms"]), timing=Timing.from_json(latency["timing"])),
                experiment=record["experiment"],
            ),
            checks=[
                Check(**{field.name: check[field.name] for field in fields(Check)})
                for check in record["checks"]
            ],
            production=ProductionModel(**production) if production else None,
            production_known=bool(record["production_known"]),
        )


def read_verdict(path: Path) -> GateVerdict:
    """Read `reports/gate.json`.

    Raises:
        ResultCorrupt: the file is missing or damaged.
    """
    record = read_record(path, keys=_KEYS, stage=STAGE)
    try:
        return GateVerdict.from_json(record)
    except (KeyError, TypeError, ValueError) as error:
        raise ResultCorrupt(path=path, reason=f"not a verdict ({error!r})", stage=STAGE) from error
