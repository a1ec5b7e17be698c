"""When a candidate is taken off the requests: by its failures, or by its slowness beside the live model.

Each answer of the candidate is held against the median of the live model's last answers at that moment, not
against older ones: a machine that was busy for a while was so for both.
"""

from __future__ import annotations

from collections import deque
from statistics import median

WINDOW = 50
"""The candidate's last so many requests that count, and the live model's last so many answers."""
LEAST_LIVE = 10
"""Answers of the live model before one of the candidate can be held against them."""
LEAST_RATIOS = 30
"""Answers of the candidate before it can be called slow: the median of fewer is a matter of luck."""
MOST_FAILURES = 5
"""Of `WINDOW` requests, a tenth: each one cost its client the time of two answers."""


class Breaker:
    """The last answers of both models; used by one thread."""

    def __init__(self, *, max_slowdown: float) -> None:
        """Begin with nothing known; `max_slowdown` is how many times slower the candidate may be."""
        self._max_slowdown = max_slowdown
        self._live: deque[float] = deque(maxlen=WINDOW)
        self._ratios: deque[float] = deque(maxlen=WINDOW)
        self._failed: deque[bool] = deque(maxlen=WINDOW)

    def measured(self, seconds: float) -> None:
        """The live model took so long for a picture."""
        self._live.append(seconds)

    def answered(self, seconds: float | None) -> str | None:
        """The candidate answered, and took so long for a picture (None without one): why it has to stop."""
        self._failed.append(False)
        if seconds is not None and len(self._live) >= LEAST_LIVE:
            self._ratios.append(seconds / max(median(self._live), 1e-9))
        if len(self._ratios) < LEAST_RATIOS:
            return None
        slowdown = median(self._ratios)
        if slowdown <= self._max_slowdown:
            return None
        return f"it is {slowdown:.1f} times slower than the live model, {self._max_slowdown:g} are allowed"

    def failed(self, reason: str) -> str | None:
        """The candidate failed at a request: why it has to stop, if it has to."""
        self._failed.append(True)
        failures = sum(self._failed)
        if failures < MOST_FAILURES:
            return None
        return f"it failed at {failures} of its last {len(self._failed)} requests, at last: {reason}"
