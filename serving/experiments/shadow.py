"""A second model looks at a sample of what the live one answered; how they agree is counted.

    shadow = Shadow(setup, fraction=0.1, live=slot, folder=following.folder, told=metrics)
    shadow.start()
    if shadow.wants(): shadow.offer(answer)     # from any thread: a random number, then an append

One thread hands the sampled pictures to a process of their own, one after the other, and counts what comes
back. Whatever goes wrong on that way, the thread that answers has left long ago.

Answers that wait for the shadow: few and of bounded size; the newest are dropped when it is behind.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from serving.detection.routing import LiveAnswer
from serving.experiments.agreement import NOTHING, Agreement, ModelPair, total_variation
from serving.experiments.shadow_client import ShadowChild, ShadowReply, ShadowSetup
from serving.experiments.shared_state import SharedCounts
from serving.inference.model_slot import ModelIdentity, ModelSlot

_MEBIBYTE = 1024 * 1024


class Backlog:
    """Filled by the threads that answer, emptied by the shadow's."""

    def __init__(self, *, most: int = 64, most_bytes: int = 32 * _MEBIBYTE) -> None:
        """At most so many answers, with so many bytes of pictures; a single larger picture is dropped too."""
        self._most = most
        self._most_bytes = most_bytes
        self._waiting: deque[LiveAnswer] = deque()
        self._bytes = 0
        self._dropped = 0
        self._closed = False
        self._condition = threading.Condition(threading.Lock())

    def put(self, answer: LiveAnswer) -> bool:
        """Take one; False when there is no room."""
        size = len(answer.data)
        with self._condition:
            full = len(self._waiting) >= self._most or self._bytes + size > self._most_bytes
            if full or self._closed:
                self._dropped += 1
                return False
            self._waiting.append(answer)
            self._bytes += size
            self._condition.notify()
            return True

    def get(self, timeout_s: float) -> LiveAnswer | None:
        """The oldest; None when none comes in time, or it is closed."""
        with self._condition:
            if not self._waiting and not self._closed:
                self._condition.wait(timeout_s)
            if not self._waiting or self._closed:
                return None
            answer = self._waiting.popleft()
            self._bytes -= len(answer.data)
            return answer

    def taken_dropped(self) -> int:
        """How many were dropped since this was last asked."""
        with self._condition:
            dropped, self._dropped = self._dropped, 0
            return dropped

    def close(self) -> None:
        """Take nothing more and let go of what waits."""
        with self._condition:
            self._closed = True
            self._waiting.clear()
            self._bytes = 0
            self._condition.notify_all()


_log = logging.getLogger(__name__)
# How long a promotion of either model takes to be seen, and a count to be told by another worker.
_LOOK_S = 0.5
_FIRST_BACKOFF_S = 1.0
_MAX_BACKOFF_S = 60.0
# A process that lived this long died of something new.
_STEADY_S = 60.0
# Of a process that ends by itself in less.
_END_S = 10.0


class ShadowListener(Protocol):
    """Who counts."""

    def compared(self, *, emotion: str, agreed: bool, version: str, live_s: float, shadow_s: float) -> None:
        """Both models answered a picture; `emotion` is the live one's, `version` the shadow's."""

    def shadow_failed(self) -> None:
        """The shadow failed at a picture."""

    def shadow_dropped(self, count: int) -> None:
        """So many pictures were not looked at for want of time."""


@dataclass(frozen=True, kw_only=True)
class ShadowStatus:
    """How the shadow stands."""

    location: str
    fraction: float
    model: ModelIdentity | None
    """That looks at pictures; None while there is none, or it is the live one."""
    reason: str
    """Why nothing is compared; empty while pictures are."""
    agreement: Agreement | None
    """What all workers counted of the last pair of models; None before there was one."""


class Shadow:
    """One for each worker."""

    def __init__(
        self, setup: ShadowSetup, *, fraction: float, live: ModelSlot, folder: Path, told: ShadowListener
    ) -> None:
        """Nothing is started yet.

        Args:
            setup: of the shadow process.
            fraction: of the answered pictures that are to be looked at, in (0, 1].
            live: slot of the live model.
            folder: state folder of the live model, where the counts are kept.
            told: counts.
        """
        self._setup = setup
        self._fraction = fraction
        self._live = live
        self._told = told
        self._shared = SharedCounts(folder)
        self._backlog = Backlog()
        self._counted: Agreement | None = None
        self._model: ModelIdentity | None = None
        self._reason = "the service is starting"
        self._active = False
        self._pair: ModelPair | None = None
        self._share_at = 0.0
        self._child: ShadowChild | None = None
        # Of what is counted: by the thread, told by whoever asks.
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)

    def start(self) -> None:
        """Start the process, and begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End thread and process; what waits is let go."""
        self._ending.set()
        self._backlog.close()
        if not self._thread.is_alive():
            return
        self._thread.join(_END_S)
        child = self._child
        if self._thread.is_alive() and child is not None:
            # It was stopped while a picture was handed to it.
            child.kill()
        self._thread.join()

    def wants(self) -> bool:
        """See `serving.detection.routing.Shadow`."""
        return self._active and random.random() < self._fraction

    def offer(self, answer: LiveAnswer) -> None:
        """See `serving.detection.routing.Shadow`."""
        self._backlog.put(answer)

    def status(self) -> ShadowStatus:
        """What was counted and how it goes; reads a small file."""
        with self._lock:
            self._share()
            kept, counted = self._shared.read(), self._counted
            # What could not be written is told nevertheless.
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
            problem = self._live_of_a_child()
            self._stand(None, problem)
            if self._ending.is_set():
                return
            if time.monotonic() - begun > _STEADY_S:
                backoff_s = _FIRST_BACKOFF_S
            _log.warning("%s; another starts in %g s", problem, backoff_s)
            self._ending.wait(backoff_s)
            backoff_s = min(2 * backoff_s, _MAX_BACKOFF_S)

    def _live_of_a_child(self) -> str:
        """Start a process and ask it until it ends, or the service does; why."""
        try:
            child = ShadowChild(self._setup)
        except OSError as error:
            return f"the shadow process cannot be started ({error})"
        self._child = child
        hangs, problem = False, ""
        try:
            while not self._ending.is_set():
                self._turn(child)
        except TimeoutError as error:
            hangs, problem = True, str(error)
        except (OSError, EOFError):
            problem = ""
        except Exception:
            # A thread that died would look at nothing ever again.
            _log.exception("the shadow's answers cannot be counted")
            problem = "its answers cannot be counted"
        self._child = None
        status = child.end(at_once=hangs)
        return f"the shadow process ended ({problem or f'exit status {status}'})"

    def _turn(self, child: ShadowChild) -> None:
        """Hand over one picture, or see only how things stand."""
        answer = self._backlog.get(_LOOK_S)
        try:
            reply = child.ask(
                answer.data if answer else None,
                answer.faces if answer else "none",
                ending=self._ending.is_set,
            )
        except (OSError, EOFError):
            if answer is not None:
                self._fail("the shadow process ended while it looked at a picture")
            raise
        if reply is None:
            return
        for name, level, message in reply.logs:
            logging.getLogger(name).log(level, "shadow: %s", message)
        self._stand(reply.model, reply.reason)
        if answer is not None:
            self._count(answer, reply)

    def _stand(self, model: ModelIdentity | None, reason: str) -> None:
        """Note which models there are; begin to count anew when they are others."""
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
                self._told.shadow_dropped(dropped)
            if self._counted is not None:
                self._counted.dropped += dropped
            if time.monotonic() >= self._share_at:
                self._share()

    def _begin(self, pair: ModelPair) -> None:
        """Count this pair, anew when it is another than before."""
        if pair == self._pair:
            return
        self._share()
        self._pair = pair
        self._counted = Agreement(pair=pair, since=time.time())
        # At once, though it is empty: the counts of the pair before are not those of this one.
        self._share(also_empty=True)

    def _count(self, answer: LiveAnswer, reply: ShadowReply) -> None:
        model = reply.model
        # It may be of a model that was live, or a shadow, until a moment ago.
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
        self._told.compared(
            emotion=emotion,
            agreed=emotion == other,
            version=model.version,
            live_s=answer.cost_s,
            shadow_s=reply.cost_s,
        )

    def _fail(self, reason: str) -> None:
        self._told.shadow_failed()
        with self._lock:
            if self._counted is not None:
                self._counted.failed += 1
                self._counted.last_error = (time.time(), reason)

    def _share(self, *, also_empty: bool = False) -> None:
        """Hand over what was counted since the last time; with the lock held."""
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


def _most_probable(probabilities: Mapping[str, float]) -> str:
    return max(probabilities, key=lambda emotion: probabilities[emotion])
