"""What a soak test records, and its JSON: lines of the load generator, and the record of the whole run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter

Role = str
"""What a process of the service does; see `benchmarks.soak.processes`."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Requests of one kind, by what came of them; `sent` is the sum of the others once all have ended."""

    sent: int = 0
    answered: int = 0
    """Status 200."""
    refused: int = 0
    """Status 429 or 503: the service said that it has no room."""
    lost: int = 0
    """Without an answer in time, over a connection that broke, or with another status."""

    def __add__(self, other: Counts) -> Counts:
        """The sums."""
        return Counts(
            sent=self.sent + other.sent,
            answered=self.answered + other.answered,
            refused=self.refused + other.refused,
            lost=self.lost + other.lost,
        )


@dataclass(frozen=True, kw_only=True)
class Interval:
    """What the load generator counted since the interval before."""

    ended_at: float
    """Monotonic clock, seconds; the same for all processes of a machine."""
    pictures: Counts
    feedback: Counts
    versions: Mapping[str, int]
    """Model version → answers that name it."""
    p50_ms: float
    """Of pictures answered, from the moment at which they were due; 0 without any. As the next two."""
    p99_ms: float
    late_p99_ms: float
    """How much later than due requests were sent."""


@dataclass(frozen=True, kw_only=True)
class VersionChange:
    """An answer names another version than the answer before."""

    version: str
    at: float
    """Monotonic clock, seconds."""


@dataclass(frozen=True, kw_only=True)
class Tail:
    """Latencies of all pictures answered in the run, milliseconds, from the moment at which they were due."""

    p50_ms: float
    p99_ms: float
    p999_ms: float


LoadLine = Interval | VersionChange | Tail
_LINES: TypeAdapter[LoadLine] = TypeAdapter(LoadLine)


def as_line(line: LoadLine) -> str:
    """One line of JSON."""
    return json.dumps(asdict(line))


def from_line(text: str) -> LoadLine:
    """The inverse of `as_line`.

    Raises:
        pydantic.ValidationError: the text is not such a line.
    """
    return _LINES.validate_json(text)


@dataclass(frozen=True, kw_only=True)
class ProcessUse:
    """Use of one process of the service at one moment."""

    role: Role
    memory_mib: float
    """Proportional set size, where the system has it; otherwise resident memory."""
    files: int
    """Open file descriptors."""
    threads: int


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Use of the service at one moment."""

    at: float
    """Monotonic clock, seconds."""
    processes: Sequence[ProcessUse]
    rows: int
    """Of the table of observations."""
    database_bytes: int
    """Of the database file and its write-ahead log."""


@dataclass(frozen=True, kw_only=True)
class Swap:
    """One promotion."""

    version: str
    moved_at: float
    """Just before the alias was moved; monotonic clock, seconds."""
    named_s: float | None
    """Until GET /model named the version; None: it did not in time. Looked at ten times a second."""
    answered_s: float | None
    """Until the first answer by the version arrived; None: there was none."""


@dataclass(frozen=True, kw_only=True)
class SoakRecord:
    """One run."""

    asked_s: float
    """Duration that was asked for."""
    begun_at: float
    """When the load began; monotonic clock, seconds, as `ended_at`."""
    ended_at: float
    every_s: float
    """Between two promotions."""
    share: float
    """Load ÷ capacity."""
    capacity_per_s: float
    """Requests per second of one client that sends one after the other, with the slower model."""
    rate_per_s: float
    """Mean rate at which pictures were due."""
    detector: str
    """That searched the faces."""
    models: Sequence[str]
    """Titles of the two models."""
    versions: Sequence[str]
    """Their versions in the registry."""
    samples: Sequence[Sample]
    intervals: Sequence[Interval]
    swaps: Sequence[Swap]
    tail: Tail
    rows_before: int
    """Observations in the database when the load began."""
    rows_after: int
    """Once the service had ended; so everything was written."""
    feedback_rows: int
    """Of the table of feedback at the end."""
    service_ended: bool
    """Whether the service ended by itself before the load did."""

    @property
    def seconds(self) -> float:
        """How long the load lasted."""
        return self.ended_at - self.begun_at

    @property
    def is_short(self) -> bool:
        """Whether the run was ended before the time that was asked for."""
        return self.seconds < 0.99 * self.asked_s

    @property
    def pictures(self) -> Counts:
        """Of the whole run."""
        return sum((interval.pictures for interval in self.intervals), Counts())

    @property
    def feedback(self) -> Counts:
        """Of the whole run."""
        return sum((interval.feedback for interval in self.intervals), Counts())


_RECORD = TypeAdapter(SoakRecord)


def read_record(path: Path) -> SoakRecord:
    """The record that `--json` wrote.

    Raises:
        pydantic.ValidationError: the file is not such a record.
    """
    return _RECORD.validate_json(path.read_bytes())
