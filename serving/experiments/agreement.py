"""Counts of how two models agree; counts of several workers and runs can be added into one report."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "live_model": self.pair.live,
            "shadow_model": self.pair.shadow,
            "since": self.since,
            "answers": [[*key, count] for key, count in sorted(self.answers.items())],
            "distances": self.distances,
            "live": _durations(self.live),
            "shadow": _durations(self.shadow),
            "dropped": self.dropped,
            "failed": self.failed,
            "last_error": self.last_error,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Agreement:
        """Read what `to_dict` wrote.

        Raises:
            ValueError: a field is missing or of the wrong type.
        """
        try:
            pair = ModelPair(live=_two(values["live_model"]), shadow=_two(values["shadow_model"]))
            time, reason = values["last_error"]
            return cls(
                pair=pair,
                since=float(values["since"]),
                answers=Counter({(one, other): int(count) for one, other, count in values["answers"]}),
                distances={name: float(value) for name, value in values["distances"].items()},
                live=_read_durations(values["live"]),
                shadow=_read_durations(values["shadow"]),
                dropped=int(values["dropped"]),
                failed=int(values["failed"]),
                last_error=(float(time), str(reason)),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"the counts cannot be read ({error})") from error


def total_variation(live: Mapping[str, float], shadow: Mapping[str, float]) -> float:
    """Distance between two probability vectors, by emotion: 0 when equal, 1 when nothing is shared."""
    emotions = live.keys() | shadow.keys()
    return sum(abs(live.get(emotion, 0.0) - shadow.get(emotion, 0.0)) for emotion in emotions) / 2


def _two(values: Any) -> tuple[str, str]:
    version, sha256 = values
    return str(version), str(sha256)


def _durations(durations: Durations) -> dict[str, Any]:
    return {"total_s": durations.total_s, "steps": sorted(durations.steps.items())}


def _read_durations(values: Mapping[str, Any]) -> Durations:
    steps = Counter({int(step): int(count) for step, count in values["steps"]})
    return Durations(total_s=float(values["total_s"]), steps=steps)
