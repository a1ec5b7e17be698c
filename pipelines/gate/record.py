"""The verdict of the quality gate, and its file `reports/gate.json`.

The file depends only on the gate's inputs: the model's bytes, the data, the thresholds, the measured
latencies and the production model. While these stay the same, the verdict remains valid and the file is not
rewritten; if one of them changes, for example a latency is measured again, the gate runs again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from pipelines.core.records import as_json, read_record
from pipelines.core.results import Timing
from pipelines.gate.rules import Check, reasons

_DIGITS = 6
"""Decimals of the values in the file; NaN cannot occur."""


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
class GateVerdict(Subject):
    """Result of the quality gate: `reports/gate.json`."""

    passed: bool
    """Whether every check passed."""
    checks: tuple[Check, ...]
    production: ProductionModel | None
    """None if nothing, or this same file, is in production."""
    production_known: bool
    """False if the registry could not be reached."""
    reasons: tuple[str, ...]
    """Why the model did not pass, and why nothing is registered."""

    @classmethod
    def of(
        cls,
        subject: Subject,
        checks: Sequence[Check],
        *,
        production: ProductionModel | None,
        production_known: bool = True,
    ) -> GateVerdict:
        """Create the verdict of some checks, with rounded values."""
        note = [f"experiment {subject.experiment}: nothing is registered"] if subject.experiment else []
        return cls(
            **vars(subject),
            passed=all(check.passed for check in checks),
            checks=tuple(_rounded(check) for check in checks),
            production=production,
            production_known=production_known,
            reasons=(*reasons(checks), *note),
        )

    @property
    def subject(self) -> Subject:
        """Inputs of the verdict."""
        return Subject(**{field.name: getattr(self, field.name) for field in fields(Subject)})

    @property
    def digest(self) -> str:
        """Hash of the verdict; changes if any part of it changes."""
        return hashlib.sha256(json.dumps(as_json(self), sort_keys=True).encode()).hexdigest()

    def holds(self, subject: Subject, production: ProductionModel | None) -> bool:
        """Whether the verdict is still valid for `subject` and this production model.

        If the file has been promoted since, it is not compared with itself: the earlier comparison counts.
        """
        if not self.production_known or self.subject != subject:
            return False
        now, then = (one.sha256 if one else None for one in (production, self.production))
        return now in (then, subject.sha256)


def read_verdict(path: Path) -> GateVerdict:
    """Read `reports/gate.json`.

    Raises:
        ResultCorrupt: the file is missing or damaged.
    """
    return read_record(path, GateVerdict, stage="gate")


def _rounded(check: Check) -> Check:
    value, threshold, production = (
        None if number is None else round(number, _DIGITS)
        for number in (check.value, check.threshold, check.production)
    )
    return replace(check, value=value, threshold=threshold, production=production)
