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
from typing import Annotated, Literal

from pydantic import Field

from pipelines.core.records import OPTIONAL, as_json, read_record
from pipelines.core.results import Timing
from pipelines.gate.noninferiority import Drop
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
    results: Annotated[str | None, OPTIONAL] = None
    """Digest of measured robustness and attributes as far as thresholds concern them; None if none does."""


@dataclass(frozen=True, kw_only=True)
class GateVerdict(Subject):
    """Result of the quality gate: `reports/gate.json`."""

    passed: bool
    """Whether every check passed, so that the model is registered."""
    held: Annotated[bool, Field(exclude_if=lambda value: not value)] = False
    """Whether it is registered without an alias: a check is unclear, and `gate.on_unclear` is `hold`."""
    checks: tuple[Check, ...]
    production: ProductionModel | None
    """None if nothing, or this same file, is in production."""
    production_known: bool
    """False if the registry could not be reached."""
    reasons: tuple[str, ...]
    """Why the model did not pass or is held, and why nothing is registered."""

    @classmethod
    def of(
        cls,
        subject: Subject,
        checks: Sequence[Check],
        *,
        production: ProductionModel | None,
        production_known: bool = True,
        hold: bool = False,
    ) -> GateVerdict:
        """Create the verdict of some checks, with rounded values.

        Args:
            subject: inputs of the verdict.
            checks: results of the rules.
            production: the model that was compared with.
            production_known: whether the registry could be reached.
            hold: whether a model that passes is held if a check is unclear.
        """
        note = [f"experiment {subject.experiment}: nothing is registered"] if subject.experiment else []
        passed = all(check.passed for check in checks)
        unclear = [check.reason for check in checks if check.unclear] if passed and hold else []
        return cls(
            **vars(subject),
            passed=passed,
            held=bool(unclear),
            checks=tuple(_rounded(check) for check in checks),
            production=production,
            production_known=production_known,
            reasons=(*reasons(checks), *unclear, *note),
        )

    @property
    def outcome(self) -> Literal["passed", "held", "failed"]:
        """The verdict in one word."""
        if not self.passed:
            return "failed"
        return "held" if self.held else "passed"

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
    return replace(
        check,
        value=_round(check.value),
        low=_round(check.low),
        high=_round(check.high),
        threshold=_round(check.threshold),
        production=_round(check.production),
        drop=check.drop and _rounded_drop(check.drop),
    )


def _rounded_drop(drop: Drop) -> Drop:
    return replace(
        drop,
        value=round(drop.value, _DIGITS),
        low=round(drop.low, _DIGITS),
        high=round(drop.high, _DIGITS),
        p_worse=round(drop.p_worse, _DIGITS),
        smallest=round(drop.smallest, _DIGITS),
    )


def _round(number: float | None) -> float | None:
    return None if number is None else round(number, _DIGITS)
