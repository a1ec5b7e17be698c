"""Log lines are JSON objects."""

from __future__ import annotations

import logging
import sys

import orjson

from serving.http.telemetry.logs import JsonFormatter


def formatted(**extra: object) -> dict[str, object]:
    record = logging.LogRecord("serving.x", logging.INFO, "file", 1, "%s is %d", ("it", 3), None)
    vars(record).update(extra)
    return dict(orjson.loads(JsonFormatter().format(record)))


def test_a_line_has_time_level_logger_message_and_what_was_given() -> None:
    line = formatted(request_id="abc", ms=1.5)
    assert set(line) == {"time", "level", "logger", "message", "request_id", "ms"}
    assert (line["level"], line["logger"], line["message"]) == ("INFO", "serving.x", "it is 3")
    assert (line["request_id"], line["ms"]) == ("abc", 1.5)


def test_a_line_break_in_a_message_stays_inside_its_line() -> None:
    record = logging.LogRecord("serving.x", logging.INFO, "file", 1, 'a\n{"level": "forged"}', (), None)
    assert "\n" not in JsonFormatter().format(record)


def test_an_exception_is_part_of_its_line() -> None:
    try:
        raise ValueError("why")
    except ValueError:
        record = logging.LogRecord("serving.x", logging.ERROR, "file", 1, "it failed", (), sys.exc_info())
    line = orjson.loads(JsonFormatter().format(record))
    assert "ValueError: why" in line["exception"]


def test_what_json_does_not_know_is_shown_as_text() -> None:
    assert formatted(value={1, 2})["value"] == "{1, 2}"
