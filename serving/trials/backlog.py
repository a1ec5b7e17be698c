"""Answers that wait for the shadow: few and of bounded size; the newest are dropped when it is behind."""

from __future__ import annotations

import threading
from collections import deque

from serving.detection.routing import LiveAnswer

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
