"""Canary: the candidate model answers a share of the clients while it works well.

    canary = Canary(share=0.1, live=slot, candidate=other, …)
    canary.start()
    candidate = canary.choose("key app")       # in the event loop, for each request

A thread updates the canary's status twice a second (is there a candidate, does it differ from the live model,
does it have the same emotions, is it paused) and records changes in the history; a request reads one
attribute. The candidate has its own queue and threads, so a candidate that hangs delays no live request.

The candidate is paused when it fails too often or is too slow compared with the live model. Each of its
answers is compared with the median of the live model's most recent answers, not with older ones: a machine
that is busy for a while slows both models.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal, Protocol, TypeVar

from serving.detection.routing import PICTURES
from serving.errors.requests import DeadlinePassed, QueueFull
from serving.experiments.report import CanaryState, CanaryStatus, compare_models
from serving.experiments.shared_state import CanaryJournal, Pause
from serving.inference.batching import Batcher
from serving.inference.model_slot import LiveModel, ModelIdentity, ModelSlot
from serving.inference.work import Work
from serving.model_sync.watcher import History
from serving.traffic import format_percent, is_in_share

WINDOW = 50
"""Number of the candidate's most recent requests, and of the live model's most recent answers, that count."""
MIN_LIVE_ANSWERS = 10
"""Minimum number of the live model's answers before the candidate is compared with them."""
MIN_RATIOS = 30
"""Minimum number of compared answers before the candidate can count as slow: fewer give a noisy median."""
MAX_FAILURES = 5
"""Failures among `WINDOW` requests that pause the candidate: a tenth, since each one costs a client time."""


class Breaker:
    """Decides from the most recent answers of both models when to pause the candidate; used by one thread."""

    def __init__(self, *, max_slowdown: float) -> None:
        """Create a breaker without answers; `max_slowdown` is how many times slower the candidate may be."""
        self._max_slowdown = max_slowdown
        # By workload: a tensor needs no face detection, and a large batch less time for each picture.
        self._live: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=WINDOW))
        self._ratios: deque[float] = deque(maxlen=WINDOW)
        self._failed: deque[bool] = deque(maxlen=WINDOW)

    def measured(self, seconds: float, workload: str = PICTURES) -> None:
        """Add the live model's time for one picture of this workload, in seconds."""
        self._live[workload].append(seconds)

    def answered(self, seconds: float | None, workload: str = PICTURES) -> str | None:
        """Add an answer of the candidate and return why it must be paused, if it must.

        Args:
            seconds: time for one picture; None when the request had no network input.
            workload: what the time is of; it is compared with the live model's times of the same workload.
        """
        self._failed.append(False)
        live = self._live[workload]
        if seconds is not None and len(live) >= MIN_LIVE_ANSWERS:
            self._ratios.append(seconds / max(median(live), 1e-9))
        if len(self._ratios) < MIN_RATIOS:
            return None
        slowdown = median(self._ratios)
        if slowdown <= self._max_slowdown:
            return None
        return f"it is {slowdown:.1f} times slower than the live model, {self._max_slowdown:g} are allowed"

    def failed(self, reason: str) -> str | None:
        """Add a failed request of the candidate and return why it must be paused, if it must."""
        self._failed.append(True)
        failures = sum(self._failed)
        if failures < MAX_FAILURES:
            return None
        return f"it failed at {failures} of its last {len(self._failed)} requests, at last: {reason}"


R = TypeVar("R")
T = TypeVar("T")
CanaryOutcome = Literal["answered", "failed", "late", "busy"]

_log = logging.getLogger(__name__)
# Maximum delay before a start or a stop is noticed; each update reads two attributes and one small file.
_LOOK_S = 0.5


class CanaryListener(Protocol):
    """Listener for the canary's events, for example metrics."""

    def canary(self, outcome: CanaryOutcome) -> None:
        """Handle the outcome of one request that was routed to the candidate."""

    def trip(self) -> None:
        """Handle a pause: the candidate gets no more requests for a while."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _ActivePair:
    """The pair of models that is compared now; both are identified by object identity."""

    live: LiveModel
    candidate: LiveModel
    breaker: Breaker


class Canary:
    """The canary of one worker; every method except `start` and `close` is called in the event loop."""

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
        listener: CanaryListener,
        max_slowdown: float,
        pause_s: float,
    ) -> None:
        """Create the canary; call `start` to begin.

        Args:
            share: share of all clients that the candidate answers, in (0, 1].
            location: location of the candidate, for messages.
            live: slot of the live model.
            candidate: slot of the candidate.
            absent: returns whether `location` no longer names a model.
            batcher: the candidate's batcher; `close` ends it.
            journal: state shared with the other workers.
            history: where one of the workers records each start, stop and pause.
            listener: notified of every outcome and pause.
            max_slowdown: how many times slower than the live model the candidate may be.
            pause_s: duration of a pause, seconds.
        """
        self._share = share
        self._location = location
        self._live = live
        self._candidate = candidate
        self._absent = absent
        self._batcher = batcher
        self._journal = journal
        self._history = history
        self._listener = listener
        self._max_slowdown = max_slowdown
        self._pause_s = pause_s
        self._active: _ActivePair | None = None
        self._tripped: tuple[_ActivePair, str] | None = None
        self._paused: tuple[ModelIdentity, Pause] | None = None
        self._recorded: tuple[CanaryState, object] | None = None
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ending = False
        self._thread = threading.Thread(target=self._watch, name="canary", daemon=True)
        self.status = CanaryStatus(state="waiting", reason="the service is starting")
        """The status at the last update."""

    @property
    def share(self) -> float:
        """Share of all clients that the candidate answers."""
        return self._share

    @property
    def location(self) -> str:
        """Location of the candidate."""
        return self._location

    def start(self) -> None:
        """Start the thread that updates the status."""
        self._thread.start()

    async def close(self) -> None:
        """Finish the candidate's queued requests and end the threads."""
        self._ending = True
        self._active = None
        self._wake.set()
        await self._batcher.close()
        if self._thread.is_alive():
            self._thread.join()

    def choose(self, subject: str) -> LiveModel | None:
        """Return the candidate if it answers this client; None: the live model answers."""
        active = self._active
        # After a switch and before the next update the slots hold another pair than the one compared.
        if (
            active is None
            or active.live is not self._live.current
            or active.candidate is not self._candidate.current
        ):
            return None
        return active.candidate if is_in_share(subject, self._share) else None

    async def run(self, work: Work[R], candidate: LiveModel, *, deadline_s: float, images: int) -> R:
        """Run a request on the candidate; raises what `Batcher.run` raises."""
        return await self._batcher.run(work, deadline_s=deadline_s, live=candidate, images=images)

    def measured(self, cost_s: float | None, workload: str) -> None:
        """Add the live model's time for one picture; None when the request had no network input."""
        active = self._active
        if active is not None and cost_s is not None:
            active.breaker.measured(cost_s, workload)

    def answered(self, candidate: LiveModel, cost_s: float | None, workload: str) -> None:
        """Add an answer of the candidate and its time for one picture, in seconds."""
        self._listener.canary("answered")
        active = self._active
        if active is not None and active.candidate is candidate:
            self._trip(active, active.breaker.answered(cost_s, workload))

    def failed(self, candidate: LiveModel, error: Exception) -> None:
        """Add a failure of the candidate; the live model answers the request instead."""
        outcome: CanaryOutcome = (
            "busy"
            if isinstance(error, QueueFull)
            else "late"
            if isinstance(error, DeadlinePassed)
            else "failed"
        )
        self._listener.canary(outcome)
        active = self._active
        # A full queue depends on the number of requests, not on the model.
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
        self._listener.trip()
        self._wake.set()

    def _watch(self) -> None:
        while not self._ending:
            try:
                self.look()
            except Exception:
                # No error may end this thread; without an active pair the live model answers.
                self._active = None
                _log.exception("the canary's status could not be updated; the live model answers")
            self._wake.wait(_LOOK_S)
            self._wake.clear()

    def look(self) -> None:
        """Update the status and record what changed."""
        self._record_trip()
        live, candidate = self._live.current, self._candidate.current
        status = self._current_status(live, candidate)
        self.status = status
        if status.state == "running" and live is not None and candidate is not None:
            self._activate(live, candidate)
        else:
            self._active = None
        self._record_change(status, live, candidate)

    def _current_status(self, live: LiveModel | None, candidate: LiveModel | None) -> CanaryStatus:
        status = compare_models(
            live, candidate, absent=self._absent(), location=self._location, waiting=self._candidate.reason
        )
        if status.state != "running" or status.candidate is None:
            return status
        pause = self._pause_of(status.candidate)
        if pause is not None:
            return replace(status, state="paused", reason=pause.reason)
        reason = f"{format_percent(self._share)} of the requests are answered by {status.reason}"
        return replace(status, reason=reason)

    def _activate(self, live: LiveModel, candidate: LiveModel) -> None:
        with self._lock:
            active = self._active
            if self._tripped is None and (
                active is None or active.live is not live or active.candidate is not candidate
            ):
                self._active = _ActivePair(
                    live=live, candidate=candidate, breaker=Breaker(max_slowdown=self._max_slowdown)
                )

    def _record_change(
        self, status: CanaryStatus, live: LiveModel | None, candidate: LiveModel | None
    ) -> None:
        """Record a change in the history, unless another worker has recorded it already."""
        key = status.candidate.key if status.candidate else None
        change = (status.state, key)
        if status.state == "waiting" or change == self._recorded or live is None:
            return
        self._recorded = change
        if status.state == "running" and candidate is not None:
            started, share = candidate.identity, self._share
            if self._shared(lambda: self._journal.start(started, share), True):
                self._record(live.identity, candidate, f"canary starts: {status.reason}")
        elif status.state == "stopped":
            previous = self._shared(self._journal.stop, None)
            if previous is not None:
                self._record(previous, live, f"canary stops: {status.reason}")

    def _pause_of(self, candidate: ModelIdentity) -> Pause | None:
        now = time.time()
        if self._paused is not None and self._paused[0].key == candidate.key and now < self._paused[1].until:
            return self._paused[1]
        return self._journal.paused(candidate, now)

    def _record_trip(self) -> None:
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
        if self._shared(lambda: self._journal.pause(candidate, pause, now), True):
            text = f"canary is paused for {self._pause_s:g} s: {reason}"
            self._record(candidate, active.live, text)

    def _shared(self, update: Callable[[], T], default: T) -> T:
        """Update the state that the workers share; without its file each worker records its own changes."""
        try:
            return update()
        except OSError as error:
            _log.warning("the workers cannot share the canary's state: %s", error)
            return default

    def _record(self, previous: ModelIdentity, current: LiveModel, reason: str) -> None:
        _log.warning("%s", reason)
        self._history.record_switch(
            time.time(), previous, current.identity, reason, kind="canary", signature=current.signature
        )
