"""Checked query parameters, stream options, and the choice of a media type by `Accept`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import cast, get_args
from urllib.parse import parse_qsl

import orjson
from starlette.requests import Request

from serving.detection.detector import Options
from serving.detection.image_reader import FacesMode
from serving.errors import BadRequest, NotAcceptable

_MODES = get_args(FacesMode)
_DEFAULT = Options()
_MAX_CACHED_BYTES = 64
_EXAMPLE = '{"faces": "auto", "min_probability": 0.5}'


def read_options(request: Request) -> Options:
    """Read `faces` and `min_probability` from the query.

    Raises:
        BadRequest: a value is not one of the documented values.
    """
    query = request.scope["query_string"]
    if not query:
        return _DEFAULT
    # Clients repeat the same query; only queries of a usual length are cached.
    return _parsed_cached(query) if len(query) <= _MAX_CACHED_BYTES else _parsed(query)


def _parsed(query: bytes) -> Options:
    values = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    return Options(faces=_faces(values), min_probability=_number(values, "min_probability"))


_parsed_cached = lru_cache(256)(_parsed)


def options_from(text: str) -> Options:
    """Read the same options from a stream's JSON message: `{"faces": "auto", "min_probability": 0.5}`.

    Raises:
        BadRequest: the message is not such an object.
    """
    try:
        values = orjson.loads(text)
    except ValueError as error:
        raise BadRequest(f"the message is not JSON ({error}); expected {_EXAMPLE}") from error
    if not isinstance(values, dict) or values.keys() - {"faces", "min_probability"}:
        raise BadRequest(f"the message is {text[:100]!r}, expected {_EXAMPLE} or one of the two keys")
    # Converted to query texts, so that both ways share one parser.
    written = {name: value if isinstance(value, str) else str(value) for name, value in values.items()}
    return Options(faces=_faces(written), min_probability=_number(written, "min_probability"))


def read_limit(request: Request, *, default: int, max_limit: int) -> int:
    """Read `limit`, a number of rows in [1, max_limit].

    Raises:
        BadRequest: the value is not a number in this range.
    """
    text = request.query_params.get("limit")
    if text is None:
        return default
    # `isdecimal` and `int` accept digits of every script, hence `isascii`; the length bounds int's work.
    if not (text.isascii() and text.isdecimal() and len(text) <= 9 and 1 <= int(text) <= max_limit):
        raise BadRequest(f"limit={text[:40]!r}, expected a number from 1 to {max_limit}")
    return int(text)


def _faces(values: Mapping[str, str]) -> FacesMode:
    mode = values.get("faces", _DEFAULT.faces)
    if mode not in _MODES:
        raise BadRequest(f"faces={mode[:40]!r}, expected one of {', '.join(_MODES)}")
    return cast(FacesMode, mode)


def _number(values: Mapping[str, str], name: str) -> float:
    text = values.get(name)
    if text is None:
        return 0.0
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise BadRequest(f"{name}={text[:40]!r}, expected a number in [0, 1]")
    return value


def preferred(accept: str, *, offered: Sequence[str]) -> str:
    """Choose the offered media type that the client prefers (RFC 9110, 12.5.1).

    Args:
        accept: the `Accept` header; empty accepts all types.
        offered: media types; the first one wins a tie.

    Raises:
        NotAcceptable: the client accepts none of them.
    """
    if not accept.strip():
        return offered[0]
    ranges = [_parsed_accept(item) for item in accept.split(",")]
    best = max(offered, key=lambda kind: _quality(kind, ranges))
    if _quality(best, ranges) <= 0:
        raise NotAcceptable(got=accept[:80], offered=" and ".join(offered))
    return best


def _parsed_accept(item: str) -> tuple[str, float]:
    kind, *parameters = (part.strip().lower() for part in item.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return kind, float(value)
            except ValueError:
                return kind, 0.0
    return kind, 1.0


def _quality(kind: str, ranges: Sequence[tuple[str, float]]) -> float:
    """Return the quality of the most specific range that contains `kind`; 0 without one."""
    for pattern in (kind, kind.partition("/")[0] + "/*", "*/*"):
        for got, quality in ranges:
            if got == pattern:
                return quality
    return 0.0
