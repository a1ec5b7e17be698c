"""Thread that cancels operations that take too long: loading a model, or one of its runs.

    watch = WATCHDOG.begin(limit_s=30.0, cancel=stop)
    try:
        …                              # native code that `stop` can end
    finally:
        WATCHDOG.end(watch)
    if watch.expired: …

One thread watches all threads of the process; `begin` and `end` only change a dictionary. Native code that
does not react to `cancel` cannot be ended: its thread is then lost, and the callback that was given to
`call_when_lost` is called.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

# How late an expiry may be noticed; four wake-ups a second cost nothing that can be measured.
_TICK_S = 0.25
# ONNX Runtime looks at its flag between two operators: what has not ended by then is one endless operator.
_GRACE_S = 5.0


class Watch:
    """A running operation with its time limit."""

    __slots__ = ("_lost", "cancel", "expired", "is_lost", "limit_s", "since_s", "thread")

    def __init__(
        self,
        *,
        since_s: float,
        limit_s: float,
        cancel: Callable[[], object],
        lost: Callable[[], object] | None,
    ) -> None:
        self.since_s = since_s
        """By the watchdog's clock."""
        self.limit_s = limit_s
        self.cancel = cancel
        self.thread = threading.get_ident()
        self.expired = False
        """Whether it was cancelled."""
        self.is_lost = False
        """Whether it went on nevertheless."""
        self._lost = lost

    def expire(self) -> None:
        """Cancel it."""
        self.expired = True
        self.cancel()

    def lose(self) -> None:
        """Give up its thread."""
        self.is_lost = True
        if self._lost is not None:
            self._lost()


class Watchdog:
    """Watches operations; thread-safe."""

    def __init__(self) -> None:
        """Create a watchdog without operations; its thread starts with the first one."""
        self._watches: dict[int, Watch] = {}
        # Advances with the ticks, by at most two of them at once: while a machine is suspended, or a
        # container frozen, no time passes for a model.
        self._clock_s = 0.0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def begin(self, *, limit_s: float, cancel: Callable[[], object]) -> Watch:
        """Start to watch an operation of this thread.

        Args:
            limit_s: maximum duration, seconds.
            cancel: called in another thread when the operation has taken longer; must return immediately.
        """
        if self._thread is None:
            self._start()
        watch = Watch(
            since_s=self._clock_s, limit_s=limit_s, cancel=cancel, lost=getattr(_local, "lost", None)
        )
        self._watches[id(watch)] = watch
        return watch

    def end(self, watch: Watch) -> None:
        """Stop watching an operation."""
        self._watches.pop(id(watch), None)

    def cancel_thread(self, thread: int | None) -> None:
        """Cancel the watched operation of a thread, if there is one; `thread` is its `ident`."""
        for watch in self._watches.copy().values():
            if watch.thread == thread and not watch.expired:
                watch.expire()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            before = time.monotonic()
            time.sleep(_TICK_S)
            self._clock_s += min(time.monotonic() - before, 2 * _TICK_S)
            for watch in self._watches.copy().values():
                over_s = self._clock_s - watch.since_s - watch.limit_s
                if over_s > 0 and not watch.expired:
                    watch.expire()
                elif over_s > _GRACE_S and not watch.is_lost:
                    watch.lose()


WATCHDOG = Watchdog()
"""Of this process."""
_local = threading.local()


def call_when_lost(callback: Callable[[], object]) -> None:
    """Set the callback for the case that this thread does not return from native code."""
    _local.lost = callback
