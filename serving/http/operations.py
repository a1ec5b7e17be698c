"""How an endpoint's part of the OpenAPI document is put together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from serving.http.components import Schema, ref
from serving.http.problems import MEDIA_TYPE, TABLE

Operation = dict[str, Any]

ACCESS = (401, 403, 429)
"""Statuses of whatever is not open to all."""
BODY = (400, 408, 413, 415)
"""Statuses of whatever has a body."""


def json_answer(name: str, text: str) -> Operation:
    """An answer whose body is a component."""
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
    """Arguments of a route's decorator.

    Args:
        responses: by status.
        problems: statuses of the others.
        parameters: in the path, the query and the headers.
        body: of the request.
        status: of a success.
        problem: the component that describes the problems.
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
    """The titles of the table, by status."""
    return {
        status: {
            "description": "; ".join(
                dict.fromkeys(kind.title for kind in TABLE.values() if kind.status == status)
            ),
            "content": {MEDIA_TYPE: {"schema": ref(name)}},
        }
        for status in sorted(statuses)
    }
