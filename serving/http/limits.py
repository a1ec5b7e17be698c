"""How often one client may ask, and how much all of them may send at once.

One rate for all workers of a machine: their buckets lie in one small file that each maps into its memory.

Which worker a connection reaches is chance, so a rate kept by each for itself would be the rate times the
number of workers for who opens many connections, and divided by it for who keeps one.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import struct
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

from serving.errors import BodiesFull, RateLimited
from serving.http.metrics import MULTIPROCESS_VARIABLE
from serving.settings import Settings

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


_log = logging.getLogger("serving.http")
FILE = "rates.bin"
"""In the folder through which workers join their metrics."""

# Digest of the client, tokens, when they were counted (seconds, CLOCK_MONOTONIC, which processes share).
_SLOT = struct.Struct("<Qdd")
# Those that one client may have; where none is free, the one that was quiet longest is forgotten.
_WAYS = 8
_SETS = 1024
_SIZE = _SLOT.size * _WAYS * _SETS
# A worker that is stopped while it holds the lock must not stop the others.
_TRIES = 50


class SharedRateLimit:
    """Lets `burst` requests through at once and `per_s` in the long run: of each client, in all processes."""

    def __init__(
        self, file: Path, per_s: float, burst: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Open the file, or make it.

        Args:
            file: the same one in every process; on a local disk.
            per_s: requests in the long run.
            burst: requests at once.
            clock: seconds; of the machine, not of the process.

        Raises:
            OSError: the file cannot be used.
        """
        self._per_s = per_s
        self._burst = burst
        self._clock = clock
        self._handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # Says nothing when another worker was first.
        os.ftruncate(self._handle, _SIZE)
        self._slots = mmap.mmap(self._handle, _SIZE)

    def take(self, client: str) -> None:
        """Count one request.

        Raises:
            RateLimited: too many; the error says how long to wait.
        """
        key = int.from_bytes(blake2b(client.encode("utf-8", "surrogatepass"), digest_size=8).digest()) or 1
        with self._locked():
            now = self._clock()
            at, bucket = self._find(key, now)
            bucket, error = spend(bucket, now, per_s=self._per_s, burst=self._burst)
            _SLOT.pack_into(self._slots, at, key, *bucket)
        if error is not None:
            raise error

    def _find(self, key: int, now: float) -> tuple[int, Bucket]:
        """Where the client's bucket lies, and what is in it; a full one for a new client."""
        first = key % _SETS * _WAYS * _SLOT.size
        oldest, oldest_since = first, float("inf")
        for at in range(first, first + _WAYS * _SLOT.size, _SLOT.size):
            found, tokens, since = _SLOT.unpack_from(self._slots, at)
            # What a machine left that was started anew since, or a torn write, is as good as nothing.
            if not 0 <= since <= now:
                found, since = 0, 0.0
            if found == key:
                return at, (tokens, since)
            if since < oldest_since:
                oldest, oldest_since = at, since
        return oldest, (float(self._burst), now)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        held = any(self._try_lock() for _ in range(_TRIES))
        try:
            # Without the lock a request may be miscounted, which is better than waiting for nobody.
            yield
        finally:
            if held:
                fcntl.flock(self._handle, fcntl.LOCK_UN)

    def _try_lock(self) -> bool:
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.sched_yield()
            return False
        return True


def make_rate(settings: Settings, environment: Mapping[str, str]) -> Rate | None:
    """The limit that the settings ask for, of all workers where these share a folder; None without one."""
    per_s, burst, workers = settings.rate_per_s, settings.rate_burst, settings.workers
    if not per_s:
        return None
    folder = environment.get(MULTIPROCESS_VARIABLE)
    if folder:
        try:
            return SharedRateLimit(Path(folder) / FILE, per_s, burst)
        except OSError as error:
            _log.warning("workers cannot share MIEN_RATE_PER_S (%s); each takes its part of it", error)
    return RateLimit(per_s / workers, max(1, round(burst / workers)))
