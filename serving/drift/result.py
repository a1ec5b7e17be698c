"""The drift result, for the database and for clients, and the request that describes what to compute."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from serving.errors import ServingError

DriftVerdict = Literal["drift", "no drift", "unknown"]

CAVEAT = (
    "An estimate takes for granted that confidence means what it meant on the test split. "
    "Under a drift alarm that is in doubt: the true accuracy may be far lower."
)
"""Note on every estimate without labels while drift is found; docs/drift.md has the measured error."""


@dataclass(frozen=True, kw_only=True)
class ColumnDrift:
    """Comparison of one column of the window with the reference."""

    name: str
    method: str
    """Name of the distance, for people."""
    score: float
    threshold: float
    """Score at and above which chance does not explain the distance."""
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
    """The observations that were compared."""

    rows: int
    total: int
    """Observations in the window; more than `rows`, and an estimate, when it was sampled."""
    sampled: bool
    since: float
    """Time of the oldest row, seconds since 1970 (UTC)."""
    until: float
    """Time of the newest row."""
    pictures_per_person: float
    """Mean number of pictures of one person that the thresholds assume."""


@dataclass(frozen=True, kw_only=True)
class ReferenceFacts:
    """The held-out pictures that were compared with."""

    rows: int
    people: int


@dataclass(frozen=True, kw_only=True)
class Measured:
    """How often the model was right on rows with a known true emotion."""

    rows: int
    accuracy: float
    accuracy_low: float
    """95 % interval of the accuracy, as though the pictures were independent."""
    accuracy_high: float
    macro_f1: float
    confusion: Mapping[str, Mapping[str, int]]
    """True class → predicted class → rows."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """A metric that calibrated probabilities lead to expect, without true emotions."""

    value: float | None
    """None where it is undefined, such as the precision of a class that was never predicted."""
    low: float | None
    """End of the interval that holds the metric of 95 % of windows with these probabilities, as `high`."""
    high: float | None


@dataclass(frozen=True, kw_only=True)
class ExpectedClass:
    """Metrics of a class that calibrated probabilities lead to expect."""

    recall: Expected
    precision: Expected


@dataclass(frozen=True, kw_only=True)
class ExpectedMetrics:
    """Confidence-based performance estimation: the metrics, if the probabilities are calibrated."""

    accuracy: Expected
    """Its value is the mean confidence."""
    macro_f1: Expected
    classes: Mapping[str, ExpectedClass]


@dataclass(frozen=True, kw_only=True)
class Estimated:
    """How often the model is right, estimated without true emotions."""

    mean_confidence: float
    """Equals the accuracy of a calibrated model (Guo et al., 2017), as long as it stays calibrated."""
    atc: float
    """Average thresholded confidence (Garg et al., 2022): calibrated on the reference."""
    cbpe: ExpectedMetrics | None = None
    """Confidence-based performance estimation; None where the window has no probabilities."""


@dataclass(frozen=True, kw_only=True)
class Quality:
    """How good the model is now, and was on its reference."""

    reference: Measured
    feedback: Measured | None
    """On faces with feedback, each once; people correct answers more readily than they confirm them."""
    estimated: Estimated


@dataclass(frozen=True, kw_only=True)
class DriftResult:
    """Whether the observations have drifted from the reference, and the evidence."""

    verdict: DriftVerdict
    reason: str
    """One sentence: which columns moved, or why there is no verdict."""
    time: float
    """When the observations were read, seconds since 1970 (UTC)."""
    model_version: str
    model_sha256: str
    window: WindowFacts | None = None
    reference: ReferenceFacts | None = None
    columns: tuple[ColumnDrift, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Columns that could not be compared, and why."""
    quality: Quality | None = None
    problem: str | None = None
    """Class name of the error without a verdict; for comparisons, since the sentence contains counts."""

    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of the columns that moved, the farthest beyond its threshold first."""
        moved = [column for column in self.columns if column.drifted]
        moved.sort(key=lambda column: -column.score / max(column.threshold, 1e-12))
        return tuple(column.name for column in moved)

    @property
    def caveat(self) -> str | None:
        """Note to show next to `quality.estimated`; None without one."""
        return CAVEAT if self.verdict == "drift" and self.quality else None

    def dumps(self) -> str:
        """Write the result as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def loads(cls, text: str | bytes) -> DriftResult:
        """Read what `dumps` wrote; keys of a later release are ignored.

        Raises:
            ValueError: a field is missing or of the wrong type.
        """
        try:
            return _reader().validate_json(text)
        except ValidationError as error:
            raise ValueError(f"not a drift result: {error}") from error


@cache
def _reader() -> TypeAdapter[DriftResult]:
    return TypeAdapter(DriftResult)


@dataclass(frozen=True, kw_only=True)
class WindowRule:
    """Which observations count as current."""

    last_n: int | None = 500
    """Maximum number of observations, newest first; None: unlimited."""
    last_s: float | None = None
    """Maximum age, seconds; None: unlimited. With `last_n` both limits apply."""
    min_rows: int = 200
    """Minimum number of rows for a verdict."""
    max_rows: int = 10_000
    """Maximum number of rows; a larger window is sampled uniformly."""


@dataclass(frozen=True, kw_only=True)
class DriftRequest:
    """Request to compute one drift result."""

    database_url: str
    model_folder: str
    """Folder of the model's files, including `reference.parquet`."""
    model_version: str
    model_sha256: str
    window: WindowRule = field(default_factory=WindowRule)
    false_alarms: float = 0.005
    """Share of windows without drift that may raise the alarm; docs/drift.md explains the value."""
    scores: str | None = None
    """Path of a batch's scores (Parquet, with embeddings) to use instead of the database."""
    pictures_per_person: float | None = None
    """Mean number of pictures of one visit in live traffic; None: the reference's mean for each person."""

    def dumps(self) -> str:
        """Write the request as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def loads(cls, text: str) -> DriftRequest:
        """Read what `dumps` wrote."""
        values = json.loads(text)
        return cls(**values | {"window": WindowRule(**values["window"])})


def unknown_result(error: ServingError, request: DriftRequest) -> DriftResult:
    """Create a result without a verdict, because of an error."""
    return DriftResult(
        verdict="unknown",
        reason=str(error),
        problem=type(error).__name__,
        time=time.time(),
        model_version=request.model_version,
        model_sha256=request.model_sha256,
    )
