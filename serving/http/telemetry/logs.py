"""Log lines as JSON objects on standard error, without client addresses or pictures.

A background thread writes them, several at once, so that no request waits for the log.
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

from serving.libraries import release_error_output
from serving.urls import MASK, mask_urls

# Maximum delay of a line. Waking the thread and writing for each single line costs as much processor time
# as the rest of the access log.
_GATHER_S = 0.05
# Limit while standard error is blocked; a record takes about a kilobyte.
_MAX_WAITING = 20_000


class LogWriter(logging.Handler):
    """Log handler that queues records for a background thread; `logging.shutdown` writes the last ones.

    A process that ends by a signal does not call `logging.shutdown`: call `finish` when its shutdown begins.
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
        """Create no lock: a deque is safe for several threads."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Queue a record that the filters accept; logging's own `handle` needs a lock from Python 3.13 on."""
        accepted = self.filter(record)
        if accepted:
            # From Python 3.12 on, a filter may return another record.
            self.emit(accepted if isinstance(accepted, logging.LogRecord) else record)
        return bool(accepted)

    def emit(self, record: logging.LogRecord) -> None:
        """Queue one record."""
        if len(self._waiting) >= _MAX_WAITING:
            self._dropped += 1
            return
        self._waiting.append(record)
        if self._finishing:
            self.flush()
        elif not self._wake.is_set():
            self._wake.set()

    def finish(self) -> None:
        """Write the waiting records, and from now on each record immediately."""
        self._finishing = True
        self.flush()

    def flush(self) -> None:
        """Write the waiting records."""
        with self._writing:
            # Records that arrive meanwhile are written next time, so that this loop ends.
            lines = [self.format(self._waiting.popleft()) for _ in range(len(self._waiting))]
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                lines.append(self.format(_drop_record(dropped)))
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
                # The stream is closed or has no reader: there is no place to report it.
                continue


class ForwardHandler(logging.Handler):
    """Handler that forwards records to another handler, with its own filters."""

    def __init__(self, target: logging.Handler) -> None:
        super().__init__()
        self._target = target

    def emit(self, record: logging.LogRecord) -> None:
        """Forward one record."""
        self._target.handle(record)


def _drop_record(dropped: int) -> logging.LogRecord:
    return logging.LogRecord(
        "serving.http",
        logging.WARNING,
        __file__,
        0,
        "%d log lines were dropped, because standard error was blocked",
        (dropped,),
        None,
    )


# Attributes of every record; all others were passed with `extra=`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}
_FORWARD_EVERY_S = 60.0
# Records of all libraries together in that time; a start leaves fewer than ten.
_MAX_FORWARDED = 60
# https://opentelemetry.io/docs/specs/otel/protocol/exporter/
_SECRET_HEADERS = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")


class JsonFormatter(logging.Formatter):
    """Formats a record as JSON: time, level, logger, message and the fields of `extra`."""

    def __init__(self) -> None:
        """Read the secrets that no line may contain."""
        super().__init__()
        given = ",".join(os.environ.get(name, "") for name in _SECRET_HEADERS)
        # OpenTelemetry quotes a header that it cannot parse.
        self._secrets = [entry.strip() for entry in given.split(",") if entry.strip()]

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
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
        # Libraries quote URLs with their passwords.
        return mask_urls(text)


class _LimitedPerMinute(logging.Filter):
    """Filter that passes 60 records a minute; the next one after that has the number of `dropped` ones."""

    def __init__(self) -> None:
        super().__init__()
        self._until = 0.0
        self._passed = 0
        self._dropped = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it passes."""
        if record.created >= self._until:
            self._until, self._passed = record.created + _FORWARD_EVERY_S, 0
        if self._passed >= _MAX_FORWARDED:
            self._dropped += 1
            return False
        self._passed += 1
        if self._dropped:
            record.dropped, self._dropped = self._dropped, 0
        return True


class _OncePerMinute(logging.Filter):
    """Filter that passes one record a minute: OpenTelemetry repeats its warning while a collector is down."""

    def __init__(self) -> None:
        super().__init__()
        self._next = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a minute has passed since the last record."""
        passes = record.created >= self._next
        if passes:
            self._next = record.created + _FORWARD_EVERY_S
        return passes


def _is_wanted(record: logging.LogRecord) -> bool:
    """False for two lines of uvicorn about WebSocket handshakes, which the access log contains already.

    One begins with the client's address, the other is a warning about every refusal with a body.
    """
    text = str(record.msg)
    return not text.startswith('%s - "WebSocket ') and "returned without completing handshake" not in text


def finish_logs() -> None:
    """Write all lines immediately from now on: uvicorn ends the process with the signal that it received."""
    release_error_output()
    for handler in logging.getLogger("serving").handlers:
        if isinstance(handler, LogWriter):
            handler.finish()


def configure_logs(level: str) -> None:
    """Send the service's and uvicorn's records, and warnings of other libraries, to standard error as JSON.

    Uvicorn's access log is off, because it contains the clients' addresses.
    """
    # No line shows them, and collecting them is a third of the cost of a record.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = LogWriter(sys.stderr)
    handler.setFormatter(JsonFormatter())
    for name in ("serving", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(level)
    others = ForwardHandler(handler)
    others.setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level]))
    others.addFilter(_LimitedPerMinute())
    # Without a handler Python writes them as plain text: python-multipart warns of each malformed form.
    logging.getLogger().handlers = [others]
    logging.captureWarnings(True)
    traces = ForwardHandler(handler)
    traces.addFilter(_OncePerMinute())
    opentelemetry = logging.getLogger("opentelemetry")
    opentelemetry.handlers = [traces]
    opentelemetry.propagate = False
    # It quotes rows that a constraint refuses.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    logging.getLogger("uvicorn.error").addFilter(_is_wanted)
    access = logging.getLogger("uvicorn.access")
    access.handlers = []
    access.propagate = False
