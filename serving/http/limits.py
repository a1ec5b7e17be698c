"""How often one client may ask, and how much all of them may send at once."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from serving.errors import BodiesFull, RateLimited

# Each entry takes about 200 bytes; beyond it the client that was quiet longest is forgotten.
_MAX_CLIENTS = 10_000


class HeldBytes:
    """How many bytes of bodies are in memory; used within one event loop.

    The queue bounds the pictures that wait for the network, this bounds those that are still arriving.
    """

    def __init__(self, limit: int) -> None:
        """At most `limit` bytes at once."""
        self._limit = limit
        self._held = 0

    def take(self, count: int) -> None:
        """Hold so many more.

        Raises:
            BodiesFull: there is no room; nothing was taken.
        """
        if self._held + count > self._limit:
            raise BodiesFull(limit=self._limit)
        self._held += count

    def give_back(self, count: int) -> None:
        """So many were let go."""
        self._held -= count


Bucket = tuple[float, float]
"""Tokens, and when they were counted, seconds."""


class Rate(Protocol):
    """How often a client may ask."""

    def take(self, client: str) -> None:
        """Count one request.

        Raises:
            RateLimited: too many; the error says how long to wait.
        """


class RateLimit:
    """Lets `burst` requests through at once and `per_s` in the long run, for each client by itself."""

    def __init__(
        self,
        per_s: float,
        burst: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        what: str = "requests",
    ) -> None:
        """Set the rate; `clock` gives seconds, `what` is counted (for messages)."""
        self._per_s = per_s
        self._burst = burst
        self._clock = clock
        self._what = what
        self._clients: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, client: str) -> None:
        """Count one request.

        Raises:
            RateLimited: too many; the error says how long to wait.
        """
        now = self._clock()
        bucket = self._clients.pop(client, (float(self._burst), now))
        self._clients[client], error = spend(
            bucket, now, per_s=self._per_s, burst=self._burst, what=self._what
        )
        if len(self._clients) > _MAX_CLIENTS:
            self._clients.popitem(last=False)
        if error is not None:
            raise error


def spend(
    bucket: Bucket, now: float, *, per_s: float, burst: int, what: str = "requests"
) -> tuple[Bucket, RateLimited | None]:
    """Take a token out of a bucket that fills by `per_s` up to `burst`: the bucket then, and the refusal."""
    tokens, since = bucket
    tokens = min(burst, tokens + (now - since) * per_s)
    if tokens >= 1:
        return (tokens - 1, now), None
    return (tokens, now), RateLimited(
        limit=f"{per_s:g} {what} per second", retry_after_s=(1 - tokens) / per_s
    )
