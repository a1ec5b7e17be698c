"""What is found when a window is held against its reference: values for the database and for clients.

What is to be computed, as it is told to the process that computes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

DriftVerdict = Literal["drift", "no drift", "unknown"]

CAVEAT = (
    "An estimate takes for granted that confidence means what it meant on the test split. "
    "Under a drift alarm that is in doubt: the true accuracy may be far lower."
)
"""Of every estimate without labels while drift is found; docs/drift.md has how far off it was."""


@dataclass(frozen=True, kw_only=True)
class ColumnDrift:
    """One column of the window against the same of the reference."""

    name: str
    method: str
    """Which distance the score is, in words."""
    score: float
    threshold: float
    """The score at and above which chance no longer explains it."""
    drifted: bool
    reference: Mapping[str, float]
    """`mean` and `deviation`; of classes, the share of each."""
    window: Mapping[str, float]
    dropped: int = 0
    """Values of the window that are not numbers (NaN, infinite) and were left out."""
    possible: Mapping[str, float | None] = field(default_factory=lambda: {"min": None, "max": None})
    """Bounds of the column's values, of classes of their shares; None without a bound."""


@dataclass(frozen=True, kw_only=True)
class WindowFacts:
    """The observations that were looked at."""

    rows: int
    total: int
    """Observations in the window; more than `rows`, and an estimate, when it was sampled."""
    sampled: bool
    since: float
    """Of the oldest row, seconds since 1970 (UTC)."""
    until: float
    """Of the newest."""
    pictures_per_person: float
    """As the thresholds assume."""


@dataclass(frozen=True, kw_only=True)
class ReferenceFacts:
    """The held-out pictures that were compared with."""

    rows: int
    people: int


@dataclass(frozen=True, kw_only=True)
class Measured:
    """How often the model was right, where the truth is known."""

    rows: int
    accuracy: float
    accuracy_low: float
    """95 % interval of the accuracy, as though the pictures were independent."""
    accuracy_high: float
    macro_f1: float
    confusion: Mapping[str, Mapping[str, int]]
    """True class → predicted class → rows."""


@dataclass(frozen=True, kw_only=True)
class Estimated:
    """How often the model is right, guessed without knowing any truth."""

    mean_confidence: float
    """A calibrated model is right as often as it is sure (Guo et al., 2017) – while it stays calibrated."""
    atc: float
    """Average thresholded confidence (Garg et al., 2022): calibrated anew on the reference."""


@dataclass(frozen=True, kw_only=True)
class Quality:
    """How good the model is now, and was on its reference."""

    reference: Measured
    feedback: Measured | None
    """Where people told what they felt; they correct more readily than they confirm."""
    estimated: Estimated


@dataclass(frozen=True, kw_only=True)
class DriftResult:
    """Whether the world has moved, why that is thought, and of what."""

    verdict: DriftVerdict
    reason: str
    """One sentence: which columns moved, or why there is no verdict."""
    time: float
    """When it was computed, seconds since 1970 (UTC)."""
    model_version: str
    model_sha256: str
    window: WindowFacts | None = None
    reference: ReferenceFacts | None = None
    columns: tuple[ColumnDrift, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Columns that could not be compared, and why."""
    quality: Quality | None = None

    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of the columns that moved, the farthest beyond its threshold first."""
        moved = [column for column in self.columns if column.drifted]
        moved.sort(key=lambda column: -column.score / max(column.threshold, 1e-12))
        return tuple(column.name for column in moved)

    @property
    def caveat(self) -> str | None:
        """What has to be said wherever `quality.estimated` is shown; None when nothing has."""
        return CAVEAT if self.verdict == "drift" and self.quality else None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DriftResult:
        """From what `to_dict` gave; keys of a later release are passed over.

        Raises:
            ValueError: a field is missing.
        """
        try:
            given = _known(cls, values)
            quality = given.get("quality")
            return cls(
                **given
                | {
                    "window": _made(WindowFacts, given.get("window")),
                    "reference": _made(ReferenceFacts, given.get("reference")),
                    "columns": tuple(_made(ColumnDrift, column) for column in given.get("columns", ())),
                    "quality": None if quality is None else _quality(quality),
                }
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"no drift result: {error}") from error


def unknown_result(reason: str, *, time: float, version: str, sha256: str) -> DriftResult:
    """There is no verdict, and why."""
    return DriftResult(
        verdict="unknown", reason=reason, time=time, model_version=version, model_sha256=sha256
    )


def _known(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    return {item.name: values[item.name] for item in fields(kind) if item.name in values}


def _made(kind: type, values: Mapping[str, Any] | None) -> Any:
    return None if values is None else kind(**_known(kind, values))


def _quality(values: Mapping[str, Any]) -> Quality:
    return Quality(
        reference=_made(Measured, values["reference"]),
        feedback=_made(Measured, values["feedback"]),
        estimated=_made(Estimated, values["estimated"]),
    )


@dataclass(frozen=True, kw_only=True)
class WindowRule:
    """Which observations count as current."""

    last_n: int | None = 500
    """The newest so many; None for no limit."""
    last_s: float | None = None
    """Those of the last so many seconds; None for no limit. With `last_n` both must hold."""
    min_rows: int = 200
    """Fewer give no verdict."""
    max_rows: int = 10_000
    """Of a larger window so many are drawn evenly."""


@dataclass(frozen=True, kw_only=True)
class DriftRequest:
    """What is to be computed."""

    database_url: str
    model_folder: str
    """Of the model's files, `reference.parquet` among them."""
    model_version: str
    model_sha256: str
    window: WindowRule = field(default_factory=WindowRule)
    false_alarms: float = 0.005
    """Share of windows without drift that may raise the alarm; docs/drift.md says why so few."""
    scores: str | None = None
    """Path of a batch's scores (Parquet, with embeddings) to look at instead of the database."""
    pictures_per_person: float | None = None
    """Of one visit in live traffic, on average; None: as many as the reference has of a person."""

    def dumps(self) -> str:
        """As one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def loads(cls, text: str) -> DriftRequest:
        """The reverse."""
        values = json.loads(text)
        return cls(**values | {"window": WindowRule(**values["window"])})
