"""Rate limits for each client.

Several workers share one rate limit: their buckets are in one small file that each worker maps into memory.
Which worker a connection reaches is random, so with separate limits a client with many connections would get
the rate times the number of workers, and a client with one connection a fraction of it.
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

from serving.errors.requests import RateLimited
from serving.settings import MULTIPROCESS_VARIABLE, Settings

# An entry takes about 200 bytes; above this number the least recently active client is removed.
_MAX_CLIENTS = 10_000

Bucket = tuple[float, float]
"""Number of tokens and the time when they were counted, s."""


class RateLimiter(Protocol):
    """Limits how often a client may send requests."""

    def take(self, client: str) -> None:
        """Count one request.

        Raises:
            RateLimited: the client sent too many; the error has the time to wait.
        """


class RateLimit:
    """Token bucket for each client: `burst` requests at once, `per_s` in the long run."""

    def __init__(
        self,
        per_s: float,
        burst: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        what: str = "requests",
    ) -> None:
        """Create the limit; `clock` returns seconds, `what` names the counted things in messages."""
        self._per_s = per_s
        self._burst = burst
        self._clock = clock
        self._what = what
        self._clients: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, client: str) -> None:
        """Count one request.

        Raises:
            RateLimited: the client sent too many; the error has the time to wait.
        """
        now = self._clock()
        bucket = self._clients.pop(client, (float(self._burst), now))
        self._clients[client], error = take_token(
            bucket, now, per_s=self._per_s, burst=self._burst, what=self._what
        )
        if len(self._clients) > _MAX_CLIENTS:
            self._clients.popitem(last=False)
        if error is not None:
            raise error


def take_token(
    bucket: Bucket, now: float, *, per_s: float, burst: int, what: str = "requests"
) -> tuple[Bucket, RateLimited | None]:
    """Take a token from a bucket that fills by `per_s` up to `burst`; return the new bucket and any error."""
    tokens, since = bucket
    tokens = min(burst, tokens + (now - since) * per_s)
    if tokens >= 1:
        return (tokens - 1, now), None
    return (tokens, now), RateLimited(
        limit=f"{per_s:g} {what} per second", retry_after_s=(1 - tokens) / per_s
    )


_log = logging.getLogger("serving.http")
RATES_FILE = "rates.bin"
"""Name of the shared file, in the folder that the workers share."""

# Digest of the client, tokens, time when they were counted (s, CLOCK_MONOTONIC, shared by all processes).
_SLOT = struct.Struct("<Qdd")
# Slots that a client may occupy; if all are in use, the least recently active client is removed.
_WAYS = 8
_SETS = 1024
_SIZE = _SLOT.size * _WAYS * _SETS
# A worker that is suspended while it holds the lock must not block the others.
_TRIES = 50


class SharedRateLimit:
    """Token bucket for each client, shared by all processes; otherwise as `RateLimit`."""

    def __init__(
        self, file: Path, per_s: float, burst: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Open or create the file.

        Args:
            file: the same in every process, on a local disk.
            per_s: requests per second in the long run.
            burst: requests at once.
            clock: returns seconds; the same clock for all processes.

        Raises:
            OSError: the file could not be opened or mapped.
        """
        self._per_s = per_s
        self._burst = burst
        self._clock = clock
        self._handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # Does nothing if another worker created the file first.
        os.ftruncate(self._handle, _SIZE)
        self._slots = mmap.mmap(self._handle, _SIZE)

    def take(self, client: str) -> None:
        """Count one request.

        Raises:
            RateLimited: the client sent too many; the error has the time to wait.
        """
        key = int.from_bytes(blake2b(client.encode("utf-8", "surrogatepass"), digest_size=8).digest()) or 1
        with self._locked():
            now = self._clock()
            at, bucket = self._find(key, now)
            bucket, error = take_token(bucket, now, per_s=self._per_s, burst=self._burst)
            _SLOT.pack_into(self._slots, at, key, *bucket)
        if error is not None:
            raise error

    def _find(self, key: int, now: float) -> tuple[int, Bucket]:
        """Return the position and the content of the client's bucket; a full bucket for a new client."""
        first = key % _SETS * _WAYS * _SLOT.size
        oldest, oldest_since = first, float("inf")
        for at in range(first, first + _WAYS * _SLOT.size, _SLOT.size):
            found, tokens, since = _SLOT.unpack_from(self._slots, at)
            # Values from before a reboot, or from an interrupted write, are ignored.
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
            # Without the lock a request may be miscounted, which is better than waiting without end.
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


def make_rate(settings: Settings, environment: Mapping[str, str]) -> RateLimiter | None:
    """Create the settings' rate limiter, shared by all workers if possible; None if there is no limit."""
    per_s, burst, workers = settings.rate_per_s, settings.rate_burst, settings.workers
    if not per_s:
        return None
    folder = environment.get(MULTIPROCESS_VARIABLE)
    if folder:
        try:
            return SharedRateLimit(Path(folder) / RATES_FILE, per_s, burst)
        except OSError as error:
            _log.warning(
                "workers could not share MIEN_RATE_PER_S (%s); each uses its fraction of the rate", error
            )
    return RateLimit(per_s / workers, max(1, round(burst / workers)))
