"""Shadow: a second model answers a sample of the live model's pictures, and their agreement is counted.

    shadow = Shadow(setup, fraction=0.1, live=slot, folder=sync.folder, listener=metrics)
    shadow.start()
    if shadow.wants(): shadow.offer(answer)     # from any thread: a random number, then an append

One thread sends the sampled pictures to a separate process, one after the other, and counts the replies. The
thread that answers the client does not wait for it, so no failure of the shadow reaches a client. Answers
wait for the shadow in a backlog of bounded size; while it is full, new ones are dropped.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from serving.contract import InputSpec
from serving.detection.routing import LiveAnswer
from serving.experiments.agreement import NOTHING, Agreement, ModelPair, total_variation
from serving.experiments.shadow_client import ShadowChild, ShadowQuestion, ShadowReply, ShadowSetup
from serving.experiments.shared_state import SharedCounts
from serving.inference.model_slot import ModelIdentity, ModelSlot

_MEBIBYTE = 1024 * 1024


class Backlog:
    """Answers that wait for the shadow: added by the threads that answer, taken by the shadow's thread."""

    def __init__(self, *, max_answers: int = 64, max_bytes: int = 32 * _MEBIBYTE) -> None:
        """Create an empty backlog.

        Args:
            max_answers: maximum number of answers that wait.
            max_bytes: maximum size of their pictures together; a single larger picture is dropped too.
        """
        self._max_answers = max_answers
        self._max_bytes = max_bytes
        self._waiting: deque[LiveAnswer] = deque()
        self._bytes = 0
        self._dropped = 0
        self._closed = False
        self._condition = threading.Condition(threading.Lock())

    def put(self, answer: LiveAnswer) -> bool:
        """Add an answer; False when it was dropped for lack of room."""
        size = len(answer.data)
        with self._condition:
            full = len(self._waiting) >= self._max_answers or self._bytes + size > self._max_bytes
            if full or self._closed:
                self._dropped += 1
                return False
            self._waiting.append(answer)
            self._bytes += size
            self._condition.notify()
            return True

    def get(self, timeout_s: float) -> LiveAnswer | None:
        """Return the oldest answer; None when none arrives in time or the backlog is closed."""
        with self._condition:
            if not self._waiting and not self._closed:
                self._condition.wait(timeout_s)
            if not self._waiting or self._closed:
                return None
            answer = self._waiting.popleft()
            self._bytes -= len(answer.data)
            return answer

    def taken_dropped(self) -> int:
        """Return how many answers were dropped since the last call."""
        with self._condition:
            dropped, self._dropped = self._dropped, 0
            return dropped

    def close(self) -> None:
        """Discard the waiting answers and accept no more."""
        with self._condition:
            self._closed = True
            self._waiting.clear()
            self._bytes = 0
            self._condition.notify_all()


_log = logging.getLogger(__name__)
# Maximum delay before a promotion of either model is noticed and before other workers see a count.
_LOOK_S = 0.5
_FIRST_BACKOFF_S = 1.0
_MAX_BACKOFF_S = 60.0
# After this run time the end of a process counts as a new fault: the pause before a restart is short again.
_STEADY_S = 60.0
# Time for the shadow's thread to end; its process ends by itself in less.
_END_S = 10.0


class ShadowListener(Protocol):
    """Listener for the shadow's events, for example metrics."""

    def compared(self, *, emotion: str, agreed: bool, version: str, live_s: float, shadow_s: float) -> None:
        """Handle a picture that both models answered: the live model's emotion, the shadow's version."""

    def shadow_failed(self) -> None:
        """Handle a picture that the shadow could not answer."""

    def shadow_dropped(self, count: int) -> None:
        """Handle `count` sampled pictures that were dropped because the shadow is too slow."""


@dataclass(frozen=True, kw_only=True)
class ShadowStatus:
    """Status of the shadow."""

    location: str
    fraction: float
    model: ModelIdentity | None
    """The shadow model; None while there is none."""
    reason: str
    """Why no pictures are compared; empty while they are."""
    agreement: Agreement | None
    """Counts of all workers for the last pair of models; None before the first pair."""


class Shadow:
    """The shadow of one worker."""

    def __init__(
        self,
        setup: ShadowSetup,
        *,
        fraction: float,
        live: ModelSlot,
        folder: Path,
        listener: ShadowListener,
        on_distance: Callable[[str, float], None],
    ) -> None:
        """Create the shadow; call `start` to begin.

        Args:
            setup: configuration of the shadow process.
            fraction: fraction of the answered pictures that the shadow looks at, in (0, 1].
            live: slot of the live model.
            folder: state folder of the live model, where the counts are stored.
            listener: notified of every comparison, failure and drop.
            on_distance: called with the id of each compared answer and its distance from the shadow's.
        """
        self._setup = setup
        self._fraction = fraction
        self._live = live
        self._listener = listener
        self._on_distance = on_distance
        self._shared = SharedCounts(folder)
        self._backlog = Backlog()
        self._counted: Agreement | None = None
        self._model: ModelIdentity | None = None
        self._input: InputSpec | None = None
        self._reason = "the service is starting"
        self._active = False
        self._pair: ModelPair | None = None
        self._share_at = 0.0
        self._child: ShadowChild | None = None
        # Guards the counts: the thread writes them, `status` reads them.
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)

    def start(self) -> None:
        """Start the thread, which starts the process."""
        self._thread.start()

    def stop(self) -> None:
        """End thread and process; waiting answers are discarded."""
        self._ending.set()
        self._backlog.close()
        if not self._thread.is_alive():
            return
        self._thread.join(_END_S)
        child = self._child
        if self._thread.is_alive() and child is not None:
            # The process was suspended while a picture was sent to it.
            child.kill()
        self._thread.join()

    def wants(self, tensor: InputSpec | None = None) -> bool:
        """See `serving.detection.routing.Shadow`."""
        is_its_input = tensor is None or tensor == self._input
        return self._active and is_its_input and random.random() < self._fraction

    def offer(self, answer: LiveAnswer) -> None:
        """See `serving.detection.routing.Shadow`."""
        self._backlog.put(answer)

    def status(self) -> ShadowStatus:
        """Return the counts and the state of the shadow; reads a small file."""
        with self._lock:
            self._share()
            kept, counted = self._shared.read(), self._counted
            # Counts that could not be written yet are included.
            if counted is not None and not counted.is_empty:
                if kept is not None and kept.pair == counted.pair:
                    kept.merge(counted)
                else:
                    kept = counted
            return ShadowStatus(
                location=self._setup.location,
                fraction=self._fraction,
                model=self._model,
                reason=self._reason,
                agreement=kept,
            )

    def _run(self) -> None:
        backoff_s = _FIRST_BACKOFF_S
        while not self._ending.is_set():
            begun = time.monotonic()
            problem = self._run_child()
            self._update(None, problem)
            if self._ending.is_set():
                return
            if time.monotonic() - begun > _STEADY_S:
                backoff_s = _FIRST_BACKOFF_S
            _log.warning("%s; another starts in %g s", problem, backoff_s)
            self._ending.wait(backoff_s)
            backoff_s = min(2 * backoff_s, _MAX_BACKOFF_S)

    def _run_child(self) -> str:
        """Run one process until it or the service ends; return why it ended."""
        try:
            child = ShadowChild(self._setup)
        except OSError as error:
            return f"the shadow process cannot be started ({error})"
        self._child = child
        hangs, problem = False, ""
        try:
            while not self._ending.is_set():
                self._exchange(child)
        except TimeoutError as error:
            hangs, problem = True, str(error)
        except (OSError, EOFError):
            problem = ""
        except Exception:
            # This thread must not end, or nothing would be compared again.
            _log.exception("the shadow's answers could not be counted")
            problem = "its answers could not be counted"
        self._child = None
        status = child.end(at_once=hangs)
        return f"the shadow process ended ({problem or f'exit status {status}'})"

    def _exchange(self, child: ShadowChild) -> None:
        """Send one picture, or only ask for the child's status, and handle the reply."""
        answer = self._backlog.get(_LOOK_S)
        try:
            reply = child.ask(_question(answer), ending=self._ending.is_set)
        except (OSError, EOFError):
            if answer is not None:
                self._fail("the shadow process ended while it looked at a picture")
            raise
        if reply is None:
            return
        for name, level, message in reply.logs:
            logging.getLogger(name).log(level, "shadow: %s", message)
        self._input = reply.input
        self._update(reply.model, reply.reason)
        if answer is not None and not reply.skipped:
            self._count(answer, reply)

    def _update(self, model: ModelIdentity | None, reason: str) -> None:
        """Store the models that are compared; start new counts when they have changed."""
        live = self._live.current
        if live is None and model is not None:
            reason = "no model is live"
        elif live is not None and model is not None and live.identity.sha256 == model.sha256:
            reason = f"version {model.version} is the live model itself"
        with self._lock:
            self._active = model is not None and not reason
            self._model, self._reason = model, reason
            if live is not None and model is not None and not reason:
                self._begin(ModelPair(live=live.identity.key, shadow=model.key))
            dropped = self._backlog.taken_dropped()
            if dropped:
                self._listener.shadow_dropped(dropped)
            if self._counted is not None:
                self._counted.dropped += dropped
            if time.monotonic() >= self._share_at:
                self._share()

    def _begin(self, pair: ModelPair) -> None:
        """Start new counts if this pair differs from the previous one."""
        if pair == self._pair:
            return
        self._share()
        self._pair = pair
        self._counted = Agreement(pair=pair, since=time.time())
        # Written although it is empty: it replaces the counts of the previous pair.
        self._share(also_empty=True)

    def _count(self, answer: LiveAnswer, reply: ShadowReply) -> None:
        model = reply.model
        # The answer or the reply may come from a model that was replaced a moment ago.
        if model is None or self._pair != ModelPair(live=answer.model.key, shadow=model.key):
            return
        if reply.error is not None:
            self._fail(reply.error)
            return
        live = dict(zip(answer.classes, answer.probabilities.tolist(), strict=True))
        emotion, other = _most_probable(live), NOTHING
        distance = 1.0
        if reply.probabilities is not None:
            other = _most_probable(reply.probabilities)
            distance = total_variation(live, reply.probabilities)
        with self._lock:
            if self._counted is not None:
                self._counted.add(emotion, other, distance)
                self._counted.live.add(answer.cost_s)
                self._counted.shadow.add(reply.cost_s)
        self._on_distance(answer.id, distance)
        self._listener.compared(
            emotion=emotion,
            agreed=emotion == other,
            version=model.version,
            live_s=answer.cost_s,
            shadow_s=reply.cost_s,
        )

    def _fail(self, reason: str) -> None:
        self._listener.shadow_failed()
        with self._lock:
            if self._counted is not None:
                self._counted.failed += 1
                self._counted.last_error = (time.time(), reason)

    def _share(self, *, also_empty: bool = False) -> None:
        """Add the counts since the last call to the shared file; the caller holds the lock."""
        self._share_at = time.monotonic() + _LOOK_S
        counted = self._counted
        if counted is None or (counted.is_empty and not also_empty):
            return
        try:
            self._shared.add(counted)
        except OSError as error:
            _log.debug("the shadow's counts are kept in memory: %s", error)
            return
        self._counted = Agreement(pair=counted.pair, since=counted.since)


def _question(answer: LiveAnswer | None) -> ShadowQuestion:
    if answer is None:
        return ShadowQuestion()
    return ShadowQuestion(data=answer.data, faces=answer.faces, tensor=answer.tensor)


def _most_probable(probabilities: Mapping[str, float]) -> str:
    return max(probabilities, key=lambda emotion: probabilities[emotion])
