"""End a service with several workers under load, again and again: by SIGTERM, and by killing its parent.

    python -m tests.load.endings --sigterm 20 --sigkill 20 --workers 2

About ten seconds for each end on two cores. It reports, and exits with 1 unless all are 0:

lost      requests whose last byte was sent before SIGTERM and that got no answer
leftover  processes of the service that outlived it
failed    starts on the same address that did not succeed, each made as soon as the process had ended

The suite runs the same with one end of each kind.
"""

from __future__ import annotations

import argparse
import http.client
import random
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from tests.support.http_process import PYTHON_M, START_S, answers, environment, free_port
from tests.support.http_service import picture_of, until
from tests.support.serving_models import model_folder

CLIENTS = 8
ANSWERS_FIRST = 40
# Connections are used for several requests, as clients do, and also opened again and again.
MOST_ON_ONE_CONNECTION = 12
# What is left after a kill is what ends with the parent: the kernel does it at once, a busy machine later.
GONE_S = 10.0


@dataclass(frozen=True)
class Unanswered:
    """A request that was sent and got no answer, or part of one."""

    sent: float
    """When its last byte was handed to the kernel; monotonic, s."""
    error: str


@dataclass
class Report:
    """What happened in all ends."""

    ends: int = 0
    answered: int = 0
    lost: list[str] = field(default_factory=list)
    later: int = 0
    """Requests that were sent after the signal and were not answered; refused connections are not counted."""
    leftover: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether nothing happened that must not."""
        return not (self.lost or self.leftover or self.failed)


class Client(threading.Thread):
    """Asks without pause until stopped; a refused connection is tried again."""

    def __init__(self, port: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._stop_asking = stop
        self.answered = 0
        self.unanswered: list[Unanswered] = []

    def run(self) -> None:
        body = picture_of(3)
        head = f"POST /detect?faces=none HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        while not self._stop_asking.is_set():
            try:
                connection = socket.create_connection(("127.0.0.1", self._port), timeout=START_S)
            except OSError:
                time.sleep(0.01)
                continue
            with connection:
                for _ in range(random.randint(1, MOST_ON_ONE_CONNECTION)):
                    if not self._asked(connection, head.encode() + body):
                        break

    def _asked(self, connection: socket.socket, request: bytes) -> bool:
        """Whether the connection can be used again."""
        try:
            connection.sendall(request)
        except OSError:
            # It was closed before this request was complete.
            return False
        sent = time.monotonic()
        response = http.client.HTTPResponse(connection)
        try:
            response.begin()
            response.read()
        except (OSError, http.client.HTTPException) as error:
            self.unanswered.append(Unanswered(sent=sent, error=repr(error)))
            return False
        finally:
            response.close()
        self.answered += 1
        return not response.will_close


@contextmanager
def under_load(port: int) -> Iterator[list[Client]]:
    """Clients that ask without pause for as long as the block runs."""
    stop = threading.Event()
    clients = [Client(port, stop) for _ in range(CLIENTS)]
    for one in clients:
        one.start()
    try:
        yield clients
    finally:
        stop.set()
        for one in clients:
            one.join(START_S)


def run(folder: Path, numbers: list[signal.Signals], *, workers: int = 2) -> Report:
    """Start the service and end it once by each of these signals to its parent, on one port."""
    model_folder(folder / "model")
    model_folder(folder / "shadow", seed=2)
    given = environment(
        folder,
        MIEN_PORT=str(free_port()),
        MIEN_WORKERS=str(workers),
        MIEN_SHADOW_MODEL=str(folder / "shadow"),
        MIEN_TIMEOUT_S="60",
    )
    report = Report()
    for number in numbers:
        with (folder / "service.log").open("ab") as log:
            process = psutil.Popen(PYTHON_M, env=given, stderr=log)
            try:
                _end(process, int(given["MIEN_PORT"]), number, report)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
    return report


def _end(process: psutil.Popen, port: int, number: signal.Signals, report: Report) -> None:
    report.ends += 1
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=START_S) as client:
        until(lambda: process.poll() is not None or answers(client), START_S)
    if process.poll() is not None:
        report.failed.append(f"start {report.ends} ended with exit status {process.returncode}")
        return
    with under_load(port) as clients:
        until(lambda: sum(one.answered for one in clients) >= ANSWERS_FIRST, START_S)
        time.sleep(random.uniform(0.0, 0.3))
        family = process.children(recursive=True)
        signalled = time.monotonic()
        process.send_signal(number)
        process.wait(START_S)
        report.leftover += [f"{_named(one)} after {number.name}" for one in _living(family)]
    report.answered += sum(one.answered for one in clients)
    for one in (item for client in clients for item in client.unanswered):
        if number == signal.SIGTERM and one.sent < signalled:
            report.lost.append(f"end {report.ends}, {signalled - one.sent:.4f} s before SIGTERM: {one.error}")
        elif number == signal.SIGTERM:
            report.later += 1


def _living(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that have not ended after a while."""
    _, living = psutil.wait_procs(processes, timeout=GONE_S)
    # One whose new parent has not collected it yet has ended.
    return [one for one in living if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def _named(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {' '.join(process.cmdline())[:120]}"
    except psutil.NoSuchProcess:
        return str(process.pid)


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sigterm", type=int, default=20, help="ends by SIGTERM")
    parser.add_argument("--sigkill", type=int, default=20, help="ends by killing the parent")
    parser.add_argument("--workers", type=int, default=2, help="MIEN_WORKERS")
    options = parser.parse_args()
    numbers = [signal.SIGTERM] * options.sigterm + [signal.SIGKILL] * options.sigkill
    random.shuffle(numbers)
    with tempfile.TemporaryDirectory(prefix="mien-endings-", ignore_cleanup_errors=True) as name:
        report = run(Path(name), numbers, workers=options.workers)
    for line in (*report.lost, *report.leftover, *report.failed):
        print(line)
    print(
        f"{report.ends} ends, {report.answered} answers: {len(report.lost)} lost, "
        f"{len(report.leftover)} leftover, {len(report.failed)} failed; "
        f"{report.later} sent after SIGTERM and not answered"
    )
    sys.exit(0 if report.is_clean else 1)


if __name__ == "__main__":
    main()
