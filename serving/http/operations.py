"""Builders for the OpenAPI description of one endpoint."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from serving.http.components import Schema, ref
from serving.http.problems import MEDIA_TYPE, TABLE

Operation = dict[str, Any]

ACCESS = (401, 403, 429)
"""Problem statuses of endpoints that check access."""
BODY = (400, 408, 413, 415)
"""Problem statuses of endpoints that read a body."""


def json_answer(name: str, text: str) -> Operation:
    """Describe a JSON response whose body is the component `name`."""
    return {"description": text, "content": {"application/json": {"schema": ref(name)}}}


def operation(
    responses: dict[int | str, Operation],
    *,
    problems: Iterable[int],
    parameters: list[Schema] | None = None,
    body: Schema | None = None,
    status: int = 200,
    problem: str = "Problem",
) -> Operation:
    """Build the keyword arguments of a route's decorator.

    Args:
        responses: descriptions of the successful responses, by status.
        problems: statuses of the problem responses.
        parameters: in the path, the query and the headers.
        body: description of the request body.
        status: default status of a success.
        problem: name of the component that describes the problems.
    """
    extra: Operation = {}
    if parameters:
        extra["parameters"] = parameters
    if body:
        extra["requestBody"] = body
    return {
        "responses": {**responses, **_problems(problems, problem)},
        "openapi_extra": extra,
        "status_code": status,
        "response_model": None,
    }


def _problems(statuses: Iterable[int], name: str) -> dict[int | str, Operation]:
    """Describe the problem responses, by status, with the titles of `problems.TABLE`."""
    return {
        status: {
            "description": "; ".join(
                dict.fromkeys(kind.title for kind in TABLE.values() if kind.status == status)
            ),
            "content": {MEDIA_TYPE: {"schema": ref(name)}},
        }
        for status in sorted(statuses)
    }
