"""Several worker processes on one address.

    MIEN_WORKERS=2 python -m serving

The parent opens the sockets, starts the workers and replaces workers that die. On SIGTERM it closes its
copies of the sockets *first*: with an open copy the kernel would continue to establish connections that no
worker accepts, and reset them when the parent ends. Each worker accepts the waiting connections, answers them
and closes its own copy.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from types import FrameType

from serving.preflight import EXIT_STATUS, exit_on_error, read_settings
from serving.processes import Child

_log = logging.getLogger("serving.http")
_POLL_S = 0.5
# As in uvicorn's supervisor, longer for a busy machine: only a blocked interpreter takes this long.
_HUNG_S = 30.0
# In addition to MIEN_SHUTDOWN_S and MIEN_TIMEOUT_S: time to write observations and end child processes.
_END_S = 20.0


@dataclass(kw_only=True)
class _Worker:
    child: Child
    answered_at: float


class Workers:
    """The parent process: starts, watches and stops the workers."""

    def __init__(self, sockets: list[socket.socket], *, count: int, end_s: float) -> None:
        """Create the parent; call `run` to start the workers.

        Args:
            sockets: bound; they listen once a worker is ready.
            count: number of workers.
            end_s: time that a worker may take to end after SIGTERM.
        """
        self._sockets = sockets
        self._count = count
        self._end_s = end_s
        self._workers: list[_Worker] = []
        self._ending = threading.Event()

    def run(self) -> int:
        """Keep the workers running until SIGTERM or SIGINT; return the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._end)
        _log.info("started parent process %d", os.getpid())
        status = 0
        try:
            while len(self._workers) < self._count and not self._ending.is_set():
                self._workers.append(self._started())
            while not self._ending.wait(_POLL_S) and status == 0:
                status = self._replace_dead()
        except (OSError, ValueError):
            # The signal arrived during the start of a worker, and the sockets are closed already.
            if not self._ending.is_set():
                raise
        finally:
            self._stop()
        return status

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self._ending.set()
        # In the signal handler, not at the next poll: until then connections would be established.
        self._close()

    def _close(self) -> None:
        for one in self._sockets:
            one.close()

    def _started(self) -> _Worker:
        numbers = [one.fileno() for one in self._sockets]
        child = Child(__name__, [str(number) for number in numbers], pass_fds=numbers)
        return _Worker(child=child, answered_at=time.monotonic())

    def _replace_dead(self) -> int:
        """Replace workers that died or hang; return the exit status if a worker cannot start, else 0."""
        for index, worker in enumerate(self._workers):
            if worker.child.answered():
                worker.answered_at = time.monotonic()
            hangs = time.monotonic() - worker.answered_at > _HUNG_S
            worker.child.ping()
            if worker.child.poll() is None and not hangs:
                continue
            status = worker.child.end()
            if status == EXIT_STATUS:
                # Another start would fail in the same way; the worker has logged the reason.
                return status
            reason = f"did not respond for {_HUNG_S:g} s" if hangs else f"ended (exit status {status})"
            _log.warning("worker %d %s; starting another one", worker.child.pid, reason)
            self._workers[index] = self._started()
        return 0

    def _stop(self) -> None:
        self._close()
        for worker in self._workers:
            if worker.child.poll() is None:
                worker.child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + self._end_s
        for worker in self._workers:
            left_s = max(0.1, deadline - time.monotonic())
            if worker.child.end(grace_s=left_s) == -signal.SIGKILL:
                _log.warning(
                    "worker %d did not end within %g s and was killed", worker.child.pid, self._end_s
                )


def end_s(shutdown_s: float, timeout_s: float) -> float:
    """Time that a worker may take to end, s: for streams, then requests, then observations and children."""
    return shutdown_s + timeout_s + _END_S


def main() -> None:
    """Run one worker."""
    with exit_on_error():
        settings = read_settings()
    from serving.http.server.uvicorn_server import serve

    if not serve(settings, [socket.socket(fileno=int(number)) for number in sys.argv[1:]]):
        raise SystemExit(EXIT_STATUS)


if __name__ == "__main__":
    main()
