"""Counts of how two models agree; counts of several workers and runs can be added into one report."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

NOTHING = ""
"""The shadow's answer where it found no face to look at."""

# Durations are counted in steps of 5 %: a percentile is off by at most that.
_STEP = math.log(1.05)
_SHORTEST_S = 1e-6


@dataclass(frozen=True, kw_only=True)
class ModelPair:
    """The two models that are compared; a new pair starts new counts."""

    live: tuple[str, str]
    """(version, sha256)."""
    shadow: tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class DurationsRecord:
    """`Durations` in a file."""

    total_s: float
    steps: tuple[tuple[int, int], ...]
    """(step, number of durations)."""


@dataclass(frozen=True, kw_only=True)
class AgreementRecord:
    """`Agreement` in a file."""

    live_model: tuple[str, str]
    shadow_model: tuple[str, str]
    since: float
    answers: tuple[tuple[str, str, int], ...]
    """(the live model's emotion, the shadow's, how often)."""
    distances: Mapping[str, float]
    live: DurationsRecord
    shadow: DurationsRecord
    dropped: int
    failed: int
    last_error: tuple[float, str]


@dataclass(kw_only=True)
class Durations:
    """Histogram of durations."""

    total_s: float = 0.0
    steps: Counter[int] = field(default_factory=Counter)

    def add(self, seconds: float) -> None:
        """Add one duration."""
        self.total_s += seconds
        self.steps[round(math.log(max(seconds, _SHORTEST_S) / _SHORTEST_S) / _STEP)] += 1

    def merge(self, other: Durations) -> None:
        """Add the durations of another histogram."""
        self.total_s += other.total_s
        self.steps.update(other.steps)

    def record(self) -> DurationsRecord:
        """Return the histogram as it is written to a file."""
        return DurationsRecord(total_s=self.total_s, steps=tuple(sorted(self.steps.items())))

    @classmethod
    def of(cls, record: DurationsRecord) -> Durations:
        """Return the histogram of a record."""
        return cls(total_s=record.total_s, steps=Counter(dict(record.steps)))

    def summary_ms(self) -> dict[str, float] | None:
        """Return mean, median and 95th percentile in ms; None without durations."""
        if not self.steps:
            return None
        return {
            "mean": round(1e3 * self.total_s / self.steps.total(), 3),
            "p50": round(1e3 * self._quantile_s(0.5), 3),
            "p95": round(1e3 * self._quantile_s(0.95), 3),
        }

    def _quantile_s(self, share: float) -> float:
        wanted, seen = share * self.steps.total(), 0
        for step in sorted(self.steps):
            seen += self.steps[step]
            if seen >= wanted:
                break
        return _SHORTEST_S * math.exp(step * _STEP)


@dataclass(kw_only=True)
class Agreement:
    """Counts for one pair of models."""

    pair: ModelPair
    since: float
    """Unix time, seconds."""
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(the live model's emotion, the shadow's) → how often."""
    distances: dict[str, float] = field(default_factory=dict)
    """The live model's emotion → sum of the distances between both probability vectors."""
    live: Durations = field(default_factory=Durations)
    shadow: Durations = field(default_factory=Durations)
    dropped: int = 0
    """Sampled pictures that were dropped because the shadow is too slow."""
    failed: int = 0
    """Sampled pictures that the shadow could not answer."""
    last_error: tuple[float, str] = (0.0, "")
    """When (Unix time) and why it failed last."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been counted yet."""
        return not (self.answers or self.dropped or self.failed)

    def add(self, live: str, shadow: str, distance: float) -> None:
        """Count one picture that both models answered; `distance` is their `total_variation`."""
        self.answers[live, shadow] += 1
        self.distances[live] = self.distances.get(live, 0.0) + distance

    def merge(self, other: Agreement) -> None:
        """Add other counts; the earlier start is kept."""
        self.since = min(self.since, other.since)
        self.answers.update(other.answers)
        for emotion, distance in other.distances.items():
            self.distances[emotion] = self.distances.get(emotion, 0.0) + distance
        self.live.merge(other.live)
        self.shadow.merge(other.shadow)
        self.dropped += other.dropped
        self.failed += other.failed
        self.last_error = max(self.last_error, other.last_error)

    def record(self) -> AgreementRecord:
        """Return the counts as they are written to a file."""
        return AgreementRecord(
            live_model=self.pair.live,
            shadow_model=self.pair.shadow,
            since=self.since,
            answers=tuple((*key, count) for key, count in sorted(self.answers.items())),
            distances=self.distances,
            live=self.live.record(),
            shadow=self.shadow.record(),
            dropped=self.dropped,
            failed=self.failed,
            last_error=self.last_error,
        )

    @classmethod
    def of(cls, record: AgreementRecord) -> Agreement:
        """Return the counts of a record."""
        return cls(
            pair=ModelPair(live=record.live_model, shadow=record.shadow_model),
            since=record.since,
            answers=Counter({(live, shadow): count for live, shadow, count in record.answers}),
            distances=dict(record.distances),
            live=Durations.of(record.live),
            shadow=Durations.of(record.shadow),
            dropped=record.dropped,
            failed=record.failed,
            last_error=record.last_error,
        )


def total_variation(live: Mapping[str, float], shadow: Mapping[str, float]) -> float:
    """Distance between two probability vectors, by emotion: 0 when equal, 1 when nothing is shared."""
    emotions = live.keys() | shadow.keys()
    return sum(abs(live.get(emotion, 0.0) - shadow.get(emotion, 0.0)) for emotion in emotions) / 2
