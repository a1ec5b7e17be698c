"""A share of the clients is answered by the candidate, for as long as it does well.

    canary = Canary(share=0.1, live=slot, candidate=other, …)
    canary.start()
    candidate = canary.choose("key app")       # in the event loop, for each request

A thread looks twice a second at how things stand (is there a candidate, is it another model, does it know the
same emotions, is it paused) and writes what changed into the history; a request reads one attribute.
The candidate has a queue and threads of its own: one that hangs keeps no live request waiting.

When a candidate is taken off the requests: by its failures, or by its slowness beside the live model.

Each answer of the candidate is held against the median of the live model's last answers at that moment, not
against older ones: a machine that was busy for a while was so for both.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal, Protocol, TypeVar

from serving.errors import DeadlinePassed, QueueFull
from serving.experiments.report import CanaryState, CanaryStatus, compare_models
from serving.experiments.shared_state import CanaryJournal, Pause
from serving.inference.batching import Batcher, Work
from serving.inference.model_slot import LiveModel, ModelIdentity, ModelSlot
from serving.model_sync.watcher import History
from serving.traffic import format_percent, is_in_share

WINDOW = 50
"""The candidate's last so many requests that count, and the live model's last so many answers."""
MIN_LIVE_ANSWERS = 10
"""Answers of the live model before one of the candidate can be held against them."""
MIN_RATIOS = 30
"""Answers of the candidate before it can be called slow: the median of fewer is a matter of luck."""
MAX_FAILURES = 5
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
        if seconds is not None and len(self._live) >= MIN_LIVE_ANSWERS:
            self._ratios.append(seconds / max(median(self._live), 1e-9))
        if len(self._ratios) < MIN_RATIOS:
            return None
        slowdown = median(self._ratios)
        if slowdown <= self._max_slowdown:
            return None
        return f"it is {slowdown:.1f} times slower than the live model, {self._max_slowdown:g} are allowed"

    def failed(self, reason: str) -> str | None:
        """The candidate failed at a request: why it has to stop, if it has to."""
        self._failed.append(True)
        failures = sum(self._failed)
        if failures < MAX_FAILURES:
            return None
        return f"it failed at {failures} of its last {len(self._failed)} requests, at last: {reason}"


R = TypeVar("R")
T = TypeVar("T")
CanaryOutcome = Literal["answered", "failed", "late", "busy"]

_log = logging.getLogger(__name__)
# How long a start or a stop may take to be seen; each look reads two attributes and one small file.
_LOOK_S = 0.5


class CanaryListener(Protocol):
    """Who counts."""

    def canary(self, outcome: CanaryOutcome) -> None:
        """What became of one request that the candidate was to answer."""

    def trip(self) -> None:
        """The candidate was taken off the requests."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _ActivePair:
    """The pair that is on trial; both are compared by identity."""

    live: LiveModel
    candidate: LiveModel
    breaker: Breaker


class Canary:
    """One for each worker; every method but `start` and `close` is called in the event loop."""

    def __init__(
        self,
        *,
        share: float,
        location: str,
        live: ModelSlot,
        candidate: ModelSlot,
        absent: Callable[[], bool],
        batcher: Batcher,
        journal: CanaryJournal,
        history: History,
        told: CanaryListener,
        max_slowdown: float,
        pause_s: float,
    ) -> None:
        """Join the parts.

        Args:
            share: of all subjects, in (0, 1].
            location: of the candidate, for messages.
            live: slot of the live model.
            candidate: slot of the candidate.
            absent: whether `location` names no model any more.
            batcher: of the candidate, ended by `close`.
            journal: shared with the other workers.
            history: told of each start, stop and pause, by one of the workers.
            told: counts.
            max_slowdown: how many times slower the candidate may be.
            pause_s: how long it then gets no requests.
        """
        self._share = share
        self._location = location
        self._live = live
        self._candidate = candidate
        self._absent = absent
        self._batcher = batcher
        self._journal = journal
        self._history = history
        self._told = told
        self._max_slowdown = max_slowdown
        self._pause_s = pause_s
        self._active: _ActivePair | None = None
        self._tripped: tuple[_ActivePair, str] | None = None
        self._paused: tuple[ModelIdentity, Pause] | None = None
        self._noted: tuple[CanaryState, object] | None = None
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ending = False
        self._thread = threading.Thread(target=self._watch, name="canary", daemon=True)
        self.standing = CanaryStatus(state="waiting", reason="the service is starting")
        """How it stood at the last look."""

    @property
    def share(self) -> float:
        """Of all subjects."""
        return self._share

    @property
    def location(self) -> str:
        """Of the candidate."""
        return self._location

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    async def close(self) -> None:
        """Answer what the candidate still has to, and end the threads."""
        self._ending = True
        self._active = None
        self._wake.set()
        await self._batcher.close()
        if self._thread.is_alive():
            self._thread.join()

    def choose(self, subject: str) -> LiveModel | None:
        """The candidate, when it is to answer this subject; None for the live model."""
        active = self._active
        # Between a switch and the next look the pair is not what was compared.
        if (
            active is None
            or active.live is not self._live.current
            or active.candidate is not self._candidate.current
        ):
            return None
        return active.candidate if is_in_share(subject, self._share) else None

    async def run(self, work: Work[R], candidate: LiveModel, *, deadline_s: float) -> R:
        """Have the candidate answer; raises as `Batcher.run`."""
        return await self._batcher.run(work, deadline_s=deadline_s, live=candidate)

    def measured(self, cost_s: float | None) -> None:
        """The live model answered, and took so long for a picture."""
        active = self._active
        if active is not None and cost_s is not None:
            active.breaker.measured(cost_s)

    def answered(self, candidate: LiveModel, cost_s: float | None) -> None:
        """The candidate answered, and took so long for a picture."""
        self._told.canary("answered")
        active = self._active
        if active is not None and active.candidate is candidate:
            self._trip(active, active.breaker.answered(cost_s))

    def failed(self, candidate: LiveModel, error: Exception) -> None:
        """The candidate did not answer, the live model is about to."""
        outcome: CanaryOutcome = (
            "busy"
            if isinstance(error, QueueFull)
            else "late"
            if isinstance(error, DeadlinePassed)
            else "failed"
        )
        self._told.canary(outcome)
        active = self._active
        # A full queue is a matter of how many ask, not of the model.
        if outcome != "busy" and active is not None and active.candidate is candidate:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            self._trip(active, active.breaker.failed(reason))

    def _trip(self, active: _ActivePair, reason: str | None) -> None:
        if reason is None:
            return
        with self._lock:
            if self._active is not active:
                return
            self._active = None
            self._tripped = (active, reason)
        self._told.trip()
        self._wake.set()

    def _watch(self) -> None:
        while not self._ending:
            try:
                self.look()
            except Exception:
                # Nothing that goes wrong here may end the watch; without a pair the live model answers.
                self._active = None
                _log.exception("the canary cannot be judged")
            self._wake.wait(_LOOK_S)
            self._wake.clear()

    def look(self) -> None:
        """See how things stand, and write down what changed."""
        self._note_trip()
        live, candidate = self._live.current, self._candidate.current
        standing = self._stands(live, candidate)
        self.standing = standing
        if standing.state == "running" and live is not None and candidate is not None:
            self._activate(live, candidate)
        else:
            self._active = None
        self._note(standing, live)

    def _stands(self, live: LiveModel | None, candidate: LiveModel | None) -> CanaryStatus:
        standing = compare_models(
            live, candidate, absent=self._absent(), location=self._location, waiting=self._candidate.reason
        )
        if standing.state != "running" or standing.candidate is None:
            return standing
        pause = self._pause_of(standing.candidate)
        if pause is not None:
            return replace(standing, state="paused", reason=pause.reason)
        reason = f"{format_percent(self._share)} of the requests are answered by {standing.reason}"
        return replace(standing, reason=reason)

    def _activate(self, live: LiveModel, candidate: LiveModel) -> None:
        with self._lock:
            active = self._active
            if self._tripped is None and (
                active is None or active.live is not live or active.candidate is not candidate
            ):
                self._active = _ActivePair(
                    live=live, candidate=candidate, breaker=Breaker(max_slowdown=self._max_slowdown)
                )

    def _note(self, standing: CanaryStatus, live: LiveModel | None) -> None:
        """Write the history, at each change that this worker sees and no other one has noted."""
        key = standing.candidate.key if standing.candidate else None
        change = (standing.state, key)
        if standing.state == "waiting" or change == self._noted or live is None:
            return
        self._noted = change
        if standing.state == "running" and standing.candidate is not None:
            candidate, share = standing.candidate, self._share
            if self._agreed(lambda: self._journal.start(candidate, share), True):
                self._record(live.identity, standing.candidate, f"canary starts: {standing.reason}")
        elif standing.state == "stopped":
            ran = self._agreed(self._journal.stop, None)
            if ran is not None:
                self._record(ran, live.identity, f"canary stops: {standing.reason}")

    def _pause_of(self, candidate: ModelIdentity) -> Pause | None:
        now = time.time()
        if self._paused is not None and self._paused[0].key == candidate.key and now < self._paused[1].until:
            return self._paused[1]
        return self._journal.paused(candidate, now)

    def _note_trip(self) -> None:
        with self._lock:
            tripped = self._tripped
        if tripped is None:
            return
        active, reason = tripped
        now = time.time()
        candidate = active.candidate.identity
        pause = Pause(until=now + self._pause_s, reason=reason)
        self._paused = (candidate, pause)
        with self._lock:
            self._tripped = None
        if self._agreed(lambda: self._journal.pause(candidate, pause, now), True):
            text = f"canary is paused for {self._pause_s:g} s: {reason}"
            self._record(candidate, active.live.identity, text)

    def _agreed(self, note: Callable[[], T], otherwise: T) -> T:
        """What the workers agree on; without the file each goes by itself, and each tells of it."""
        try:
            return note()
        except OSError as error:
            _log.warning("the workers cannot agree on the canary: %s", error)
            return otherwise

    def _record(self, previous: ModelIdentity, current: ModelIdentity, reason: str) -> None:
        _log.warning("%s", reason)
        self._history.record_switch(time.time(), previous, current, reason)
