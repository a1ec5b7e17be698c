"""Reads JSON into the dataclasses of `answers`: unknown keys are ignored, missing ones are an error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


def read_answer(kind: type[T], body: bytes) -> T:
    """Read an answer's body.

    Args:
        kind: a dataclass; `bytes` for the body as it is, `NoneType` for an answer without a body.
        body: of the answer.

    Raises:
        ValueError: the body is not JSON, or a value is missing or of another type; the message says which.
    """
    if kind is bytes or kind is NoneType:
        return cast(T, body if kind is bytes else None)
    try:
        value = json.loads(body)
    except ValueError as error:
        raise ValueError(f"the body is not JSON ({error})") from error
    return cast(T, read(kind, value, ""))


def read(kind: Any, value: Any, where: str) -> Any:
    """Read one value of the type `kind`; `where` is its place in the answer, for messages."""
    if kind is Any:
        return value
    if is_dataclass(kind) and isinstance(value, dict):
        return _read_object(kind, value, where)
    arguments = get_args(kind)
    match get_origin(kind):
        case origin if origin is UnionType:  # `X | None`; there are no other unions
            return None if value is None else read(arguments[0], value, where)
        case origin if origin is tuple and isinstance(value, list):
            return tuple(read(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(value))
        case origin if origin is Mapping and isinstance(value, dict):
            return {name: read(arguments[1], item, f"{where}.{name}") for name, item in value.items()}
    if kind is datetime and isinstance(value, str):
        return datetime.fromisoformat(value)
    # JSON has one type for both, and bool is a subclass of int.
    if type(value) is kind or (kind is float and type(value) is int):
        return kind(value)
    expected = getattr(kind, "__name__", kind)
    raise ValueError(f"{_named(where)} is {type(value).__name__}, expected {expected}")


@cache
def _types(kind: type) -> Mapping[str, Any]:
    return get_type_hints(kind)


def _read_object(kind: Any, value: Mapping[str, Any], where: str) -> Any:
    types = _types(kind)
    given = {}
    for field in fields(kind):
        place = f"{where}.{field.name}"
        if field.name in value:
            given[field.name] = read(types[field.name], value[field.name], place)
        elif field.default is MISSING:
            raise ValueError(f"{_named(place)} is missing, expected {field.type}")
    return kind(**given)


def _named(where: str) -> str:
    return where.lstrip(".") or "the answer"
