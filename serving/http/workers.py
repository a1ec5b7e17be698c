"""Several answering processes on one address.

    MIEN_WORKERS=2 python -m serving

The parent opens the sockets, starts the workers and replaces those that die. On SIGTERM it closes its
copies of the sockets *first*. With a copy left open the kernel would go on making connections that no worker
accepts, and reset them when the parent ends. Each worker accepts what waits, answers, and closes its copy.
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
_LOOK_S = 0.5
# As uvicorn's supervisor, with room for a machine that is busy: only a stuck interpreter takes this long.
_HUNG_S = 30.0
# Beyond MIEN_SHUTDOWN_S and MIEN_TIMEOUT_S, for observations to be written and child processes to end.
_END_S = 20.0


@dataclass(kw_only=True)
class _Worker:
    child: Child
    answered_at: float


class Workers:
    """The parent's side."""

    def __init__(self, sockets: list[socket.socket], *, count: int, end_s: float) -> None:
        """Nothing is started yet.

        Args:
            sockets: bound, and listening once a worker is ready.
            count: of workers.
            end_s: how long a worker may take to end after SIGTERM.
        """
        self._sockets = sockets
        self._count = count
        self._end_s = end_s
        self._workers: list[_Worker] = []
        self._ending = threading.Event()

    def run(self) -> int:
        """Keep the workers running until SIGTERM or SIGINT; the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._end)
        _log.info("started parent process %d", os.getpid())
        status = 0
        try:
            while len(self._workers) < self._count and not self._ending.is_set():
                self._workers.append(self._started())
            while not self._ending.wait(_LOOK_S) and status == 0:
                status = self._replace_dead()
        except (OSError, ValueError):
            # The signal came in the middle of a start, which then has no sockets to pass on.
            if not self._ending.is_set():
                raise
        finally:
            self._stop()
        return status

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self._ending.set()
        # In the signal's handler, not when the loop looks next: until then connections would come in.
        self._close()

    def _close(self) -> None:
        for one in self._sockets:
            one.close()

    def _started(self) -> _Worker:
        numbers = [one.fileno() for one in self._sockets]
        child = Child(__name__, [str(number) for number in numbers], pass_fds=numbers)
        return _Worker(child=child, answered_at=time.monotonic())

    def _replace_dead(self) -> int:
        """Start another worker for each that died or hangs; not 0 when one cannot start at all."""
        for index, worker in enumerate(self._workers):
            if worker.child.answered():
                worker.answered_at = time.monotonic()
            hangs = time.monotonic() - worker.answered_at > _HUNG_S
            worker.child.ping()
            if worker.child.poll() is None and not hangs:
                continue
            status = worker.child.end()
            if status == EXIT_STATUS:
                # It would be the same again; the worker has said why.
                return status
            reason = f"gave no sign of life for {_HUNG_S:g} s" if hangs else f"ended (exit status {status})"
            _log.warning("worker %d %s; another starts", worker.child.pid, reason)
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
    """How long a worker may take to end, s: streams first, then requests, then what they leave behind."""
    return shutdown_s + timeout_s + _END_S


def main() -> None:
    """One worker."""
    with exit_on_error():
        settings = read_settings()
    from serving.http.server import serve

    if not serve(settings, [socket.socket(fileno=int(number)) for number in sys.argv[1:]]):
        raise SystemExit(EXIT_STATUS)


if __name__ == "__main__":
    main()
