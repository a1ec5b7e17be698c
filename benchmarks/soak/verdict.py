"""What a soak test must hold: no request lost, no wrong version, every promotion followed, no growth."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.soak.processes import LASTING
from benchmarks.soak.record import ProcessUse, Role, Sample, SoakRecord

MEMORY_LIMIT = 0.05
"""Growth from the window after the warm-up to the last one, of each process that lasts."""
WARM_UP, WINDOW = 1 / 6, 1 / 10
"""Shares of the run: what is left out at its beginning, and each of the two windows that are compared."""

Value = Callable[[ProcessUse], float]


@dataclass(frozen=True, kw_only=True)
class Change:
    """Mean use of the processes of one role in both windows."""

    role: Role
    before: float
    """In the window after the warm-up."""
    after: float
    """In the window at the end."""

    @property
    def growth(self) -> float:
        """0.05 is 5 %."""
        return self.after / self.before - 1


@dataclass(frozen=True, kw_only=True)
class Windows:
    """The two spans of a run that are compared, seconds since its beginning."""

    first: tuple[float, float]
    last: tuple[float, float]

    @property
    def are_apart(self) -> bool:
        """Whether the first ends before the last begins; otherwise the run is too short to be judged."""
        return self.first[1] <= self.last[0]


def windows(seconds: float, *, every_s: float) -> Windows:
    """The windows of a run.

    Args:
        seconds: duration of the run.
        every_s: between two promotions. A window is a tenth of the run, rounded up to whole pairs of
            promotions: so each model is live for half of it, and a larger one does not count as growth.
    """
    pair = 2 * every_s
    length = pair * math.ceil(WINDOW * seconds / pair - 1e-9)
    warm_up = WARM_UP * seconds
    return Windows(first=(warm_up, warm_up + length), last=(seconds - length, seconds))


def memory(record: SoakRecord) -> list[Change]:
    """Mean memory of each role that lasts, MiB; empty if the run is too short to be judged."""
    return _changes(record, lambda use: use.memory_mib)


def files(record: SoakRecord) -> list[Change]:
    """Mean number of open file descriptors, as `memory`."""
    return _changes(record, lambda use: use.files)


def threads(record: SoakRecord) -> list[Change]:
    """Mean number of threads, as `memory`."""
    return _changes(record, lambda use: use.threads)


def _changes(record: SoakRecord, value: Value) -> list[Change]:
    spans = windows(record.seconds, every_s=record.every_s)
    if not spans.are_apart:
        return []
    before, after = _within(record, spans.first), _within(record, spans.last)
    return [
        Change(role=role, before=_mean(before, role, value), after=_mean(after, role, value))
        for role in LASTING
        if _has(before, role) and _has(after, role)
    ]


def _within(record: SoakRecord, span: tuple[float, float]) -> list[Sample]:
    first, last = (record.begun_at + moment for moment in span)
    return [sample for sample in record.samples if first <= sample.at <= last]


def _has(samples: Sequence[Sample], role: Role) -> bool:
    return any(use.role == role for sample in samples for use in sample.processes)


def _mean(samples: Sequence[Sample], role: Role, value: Value) -> float:
    """Mean over the samples of the sum over the role's processes; samples without one are left out."""
    sums = [
        sum(value(use) for use in sample.processes if use.role == role)
        for sample in samples
        if _has([sample], role)
    ]
    return statistics.mean(sums)


def foreign_versions(record: SoakRecord) -> int:
    """Answers that name a version which was neither of the two."""
    return sum(
        count
        for interval in record.intervals
        for version, count in interval.versions.items()
        if version not in record.versions
    )


def failures(record: SoakRecord) -> Iterator[str]:
    """What must not have happened, one sentence each; nothing when the run is as it should be."""
    if record.service_ended:
        yield f"the service ended after {record.seconds:.0f} s, expected it to run on; its log says why"
    lost = record.pictures.lost + record.feedback.lost
    if lost:
        yield f"{lost} requests were lost, expected none; the service's log says why"
    if foreign := foreign_versions(record):
        yield f"{foreign} answers name a version that was neither {' nor '.join(record.versions)}"
    late = [swap for swap in record.swaps if swap.named_s is None or swap.answered_s is None]
    if late:
        yield f"{len(late)} of {len(record.swaps)} promotions were not followed within a minute"
    for change in memory(record):
        if change.growth > MEMORY_LIMIT:
            yield (
                f"the process that {change.role} grew by {change.growth:.1%} "
                f"({change.before:.0f} to {change.after:.0f} MiB), expected at most {MEMORY_LIMIT:.0%}"
            )
