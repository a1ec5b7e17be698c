"""Log lines as JSON on standard error, one object each; no address and no picture of anybody in them."""

from __future__ import annotations

import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any

import orjson

from serving.http.log_writer import Forward, LogWriter
from serving.urls import MASK, mask_urls

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
