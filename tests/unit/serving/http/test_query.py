"""What stands behind the question mark."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from serving.detection.detector import Options
from serving.errors.requests import BadRequest
from serving.http.request.body import read_limit, read_options


def asked(query: str) -> Request:
    return Request({"type": "http", "query_string": query.encode(), "headers": []})


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", Options()),
        ("faces=none", Options(faces="none")),
        ("min_probability=0.5&faces=all", Options(faces="all", min_probability=0.5)),
        ("other=1", Options()),
        ("min_probability=1", Options(min_probability=1.0)),
        ("min_probability=0", Options()),
    ],
)
def test_options_are_read(query: str, options: Options) -> None:
    assert read_options(asked(query)) == options


@pytest.mark.parametrize(
    "query",
    [
        "faces=",
        "faces=some",
        "faces=%00",
        "min_probability=",
        "min_probability=-0.1",
        "min_probability=1.1",
        "min_probability=nan",
        "min_probability=inf",
        "min_probability=a",
    ],
)
def test_other_values_are_refused(query: str) -> None:
    with pytest.raises(BadRequest, match="expected"):
        read_options(asked(query))


def test_a_limit_has_a_default_and_bounds() -> None:
    assert read_limit(asked(""), default=7, max_limit=10) == 7
    assert read_limit(asked("limit=10"), default=7, max_limit=10) == 10


@pytest.mark.parametrize("text", ["0", "11", "-1", "", "1.5", "a", "٣", "9" * 30])
def test_other_limits_are_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        read_limit(asked(f"limit={text}"), default=7, max_limit=10)
