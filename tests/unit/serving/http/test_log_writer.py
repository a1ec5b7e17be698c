"""Log lines are written together, late by a moment, and none is lost at the end."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from serving.http.telemetry.logs import ForwardHandler, LogWriter

REPOSITORY = Path(__file__).parents[4]
PATIENCE_S = 20.0


class Stream(io.StringIO):
    """Notes each write, and can be held up."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []
        self.open = threading.Event()
        self.open.set()

    def write(self, text: str) -> int:
        self.open.wait(PATIENCE_S)
        self.writes.append(text)
        return len(text)


def record(number: int) -> logging.LogRecord:
    return logging.LogRecord("serving.x", logging.INFO, "file", 1, "line %d", (number,), None)


def test_lines_of_one_moment_are_one_write_in_order() -> None:
    stream = Stream()
    writer = LogWriter(stream)
    for number in range(50):
        writer.handle(record(number))
    deadline = time.monotonic() + PATIENCE_S
    while "line 49" not in "".join(stream.writes):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert "".join(stream.writes).splitlines() == [f"line {number}" for number in range(50)]
    assert len(stream.writes) <= 3


def test_a_reader_that_does_not_read_costs_lines_and_not_memory() -> None:
    stream = Stream()
    stream.open.clear()
    writer = LogWriter(stream)
    count = 60_000
    for number in range(count):
        writer.handle(record(number))
    stream.open.set()
    writer.flush()
    lines = "".join(stream.writes).splitlines()
    dropped = [int(line.split()[0]) for line in lines if "log lines were dropped" in line]
    # The thread holds what it took before it was held up; as much again waits.
    assert sum(dropped) >= count - 2 * 20_000
    assert len(lines) - len(dropped) == count - sum(dropped)


def test_a_forwarding_handler_filters_for_itself() -> None:
    stream = Stream()
    writer = LogWriter(stream)
    forward = ForwardHandler(writer)
    forward.addFilter(lambda record: record.args == (1,))
    for number in range(3):
        forward.handle(record(number))
    writer.flush()
    assert "".join(stream.writes) == "line 1\n"


def test_the_last_lines_are_written_when_the_process_ends() -> None:
    program = (
        "import logging; from serving.http.telemetry.logs import configure_logs; configure_logs('INFO'); "
        "log = logging.getLogger('serving.x'); [log.info('line %d', n) for n in range(100)]"
    )
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr.count("\n") == 100
    assert '"line 99"' in done.stderr.splitlines()[-1]
