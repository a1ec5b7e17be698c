"""Log lines as JSON on standard error, one object each; no address and no picture of anybody in them.

Writes log lines from a thread of its own, many at once: none of it is a reason for a request to wait.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import deque
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson

from serving.urls import MASK, mask_urls

# A line may be late by this much. Waking a thread for each line, and writing each by itself, costs as much
# processor time as all the rest of the access log.
_GATHER_S = 0.05
# While nobody reads what is written; a record takes about a kilobyte.
_MOST_WAITING = 20_000


class LogWriter(logging.Handler):
    """Takes records without waiting; `logging.shutdown`, which Python calls at its end, writes the last.

    A process that ends by a signal has no such end: `finish` when its end begins.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._waiting: deque[logging.LogRecord] = deque()
        self._dropped = 0
        self._finishing = False
        self._writing = threading.Lock()
        self._wake = threading.Event()
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def createLock(self) -> None:  # noqa: N802 - logging's name
        """None: a deque takes records from several threads at once."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record."""
        if len(self._waiting) >= _MOST_WAITING:
            self._dropped += 1
            return
        self._waiting.append(record)
        if self._finishing:
            self.flush()
        elif not self._wake.is_set():
            self._wake.set()

    def finish(self) -> None:
        """Write what waits, and from now on each record when it comes."""
        self._finishing = True
        self.flush()

    def flush(self) -> None:
        """Write what waits."""
        with self._writing:
            # Those that come meanwhile are next: this ends however fast they come.
            lines = [self.format(self._waiting.popleft()) for _ in range(len(self._waiting))]
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                lines.append(self.format(_told(dropped)))
            if lines:
                self._stream.write("\n".join([*lines, ""]))
                self._stream.flush()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            time.sleep(_GATHER_S)
            self._wake.clear()
            try:
                self.flush()
            except (OSError, ValueError):
                # Nobody reads any more, or the stream is closed: there is nowhere to say so.
                continue


class Forward(logging.Handler):
    """Hands records to another handler; for filters of its own."""

    def __init__(self, target: logging.Handler) -> None:
        super().__init__()
        self._target = target

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on."""
        self._target.handle(record)


def _told(dropped: int) -> logging.LogRecord:
    return logging.LogRecord(
        "serving.http", logging.WARNING, __file__, 0, "%d log lines were not taken in time", (dropped,), None
    )


# What every record has anyway; the rest came with `extra=`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}
_SELDOM_S = 60.0
# https://opentelemetry.io/docs/specs/otel/protocol/exporter/
_SECRET_HEADERS = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")


class JsonFormatter(logging.Formatter):
    """Time, level, logger, message, and whatever was given as `extra`."""

    def __init__(self) -> None:
        """Remember what no line may show."""
        super().__init__()
        given = ",".join(os.environ.get(name, "") for name in _SECRET_HEADERS)
        # OpenTelemetry quotes a header that it cannot read.
        self._secrets = [entry.strip() for entry in given.split(",") if entry.strip()]

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        text = orjson.dumps(line, default=str).decode()
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        # Libraries quote the URLs that they were given, passwords included.
        return mask_urls(text)


class _Seldom(logging.Filter):
    """Lets one record a minute pass: a collector that is away is complained of again and again."""

    def __init__(self) -> None:
        super().__init__()
        self._next = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is time for one."""
        passes = record.created >= self._next
        if passes:
            self._next = record.created + _SELDOM_S
        return passes


def _is_wanted(record: logging.LogRecord) -> bool:
    """False for two lines of uvicorn about WebSocket handshakes, which the access log has better.

    One begins with the client's address, the other complains of every refusal that has a body.
    """
    text = str(record.msg)
    return not text.startswith('%s - "WebSocket ') and "returned without completing handshake" not in text


def finish_logs() -> None:
    """Write what waits, and the last lines when they come: uvicorn ends by the signal that it was sent."""
    for handler in logging.getLogger("serving").handlers:
        if isinstance(handler, LogWriter):
            handler.finish()


def configure_logs(level: str) -> None:
    """Send the service's and uvicorn's records to standard error as JSON.

    Uvicorn's access log is switched off: it names its clients' addresses.
    """
    # No line shows them, and asking for them is a third of what a record costs.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = LogWriter(sys.stderr)
    handler.setFormatter(JsonFormatter())
    for name in ("serving", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(level)
    traces = Forward(handler)
    traces.addFilter(_Seldom())
    opentelemetry = logging.getLogger("opentelemetry")
    opentelemetry.handlers = [traces]
    opentelemetry.propagate = False
    # It would quote a row that a constraint refuses.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    logging.getLogger("uvicorn.error").addFilter(_is_wanted)
    access = logging.getLogger("uvicorn.access")
    access.handlers = []
    access.propagate = False
