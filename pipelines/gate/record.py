"""What the gate said of one file, and `reports/gate.json` that holds it: its only writer and reader.

The file is a function of what was judged: the model's bytes, the data, the thresholds, the times that
`latency` measured and the model in production. Where all of them are as they were, the verdict still holds
and the file keeps its bytes; where one differs, such as a time measured again, the gate judges again.
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
    """What the gate was given of `reports/latency.json`."""

    p50_ms: float
    """Batch 1, one thread."""
    timing: Timing


@dataclass(frozen=True, kw_only=True)
class ProductionModel:
    """The model in production that was compared with."""

    version: int
    sha256: str
    """Of its file; `version-N` where the registry does not know it."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is judged, and by what."""

    architecture: str
    """Name of the variant."""
    sha256: str
    """Of the ONNX file."""
    dataset: str
    """Digest of the data whose test pictures are asked about."""
    thresholds: str
    """Their digest."""
    latency: Latency
    experiment: str | None
    """Name of the DVC experiment it is part of, in which nothing is registered."""


@dataclass(frozen=True, kw_only=True)
class GateVerdict:
    """What the gate said."""

    subject: Subject
    checks: Sequence[Check]
    production: ProductionModel | None
    """None where nothing, or this very file, is in production."""
    production_known: bool = True
    """False where the registry could not be asked."""

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def digest(self) -> str:
        """Changes with anything it says."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def holds(self, subject: Subject, production: ProductionModel | None) -> bool:
        """Whether it is still the verdict on `subject` beside this production model.

        A file that was promoted since is not compared with itself: what it was compared with before stands.
        """
        if not self.production_known or self.subject != subject:
            return False
        now, then = (one.sha256 if one else None for one in (production, self.production))
        return now in (then, subject.sha256)

    def to_json(self) -> dict[str, Any]:
        """As `reports/gate.json` has it."""
        experiment = self.subject.experiment
        said = [f"this is the experiment {experiment}: nothing is registered"] if experiment else []
        return {
            **asdict(self.subject),
            "passed": self.passed,
            "checks": as_json(self.checks),
            "production": asdict(self.production) if self.production else None,
            "production_known": self.production_known,
            "reasons": reasons(self.checks) + said,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """From what `to_json` made; `KeyError`, `TypeError` or `ValueError` where it is damaged."""
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
        ResultCorrupt: it is absent or damaged.
    """
    record = read_record(path, keys=_KEYS, stage=STAGE)
    try:
        return GateVerdict.from_json(record)
    except (KeyError, TypeError, ValueError) as error:
        raise ResultCorrupt(path=path, reason=f"not a verdict ({error!r})", stage=STAGE) from error
