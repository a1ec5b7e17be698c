"""What clients write behind `?`, or into a stream's first message, checked.

Which of the offered media types a client likes best (RFC 9110, 12.5.1).
"""

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
_LONGEST_KNOWN = 64
_EXAMPLE = '{"faces": "auto", "min_probability": 0.5}'


def read_options(request: Request) -> Options:
    """`faces` and `min_probability`.

    Raises:
        BadRequest: another value than those that are documented.
    """
    query = request.scope["query_string"]
    if not query:
        return _DEFAULT
    # Clients ask the same again and again; what is longer than these two need is not kept.
    return _known(query) if len(query) <= _LONGEST_KNOWN else _parsed(query)


def _parsed(query: bytes) -> Options:
    values = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    return Options(faces=_faces(values), min_probability=_number(values, "min_probability"))


_known = lru_cache(256)(_parsed)


def options_from(text: str) -> Options:
    """The same as a JSON object, which streams take: `{"faces": "auto", "min_probability": 0.5}`.

    Raises:
        BadRequest: no such object.
    """
    try:
        values = orjson.loads(text)
    except ValueError as error:
        raise BadRequest(f"the message is no JSON ({error}); expected {_EXAMPLE}") from error
    if not isinstance(values, dict) or values.keys() - {"faces", "min_probability"}:
        raise BadRequest(f"the message is {text[:100]!r}, expected {_EXAMPLE} or one of the two")
    # As they would stand in a query: there is one reading of them.
    written = {name: value if isinstance(value, str) else str(value) for name, value in values.items()}
    return Options(faces=_faces(written), min_probability=_number(written, "min_probability"))


def read_limit(request: Request, *, default: int, most: int) -> int:
    """`limit`: how many rows, in [1, most].

    Raises:
        BadRequest: no such number.
    """
    text = request.query_params.get("limit")
    if text is None:
        return default
    # `isdecimal` takes the digits of every script, as does `int`; the length bounds what int has to do.
    if not (text.isascii() and text.isdecimal() and len(text) <= 9 and 1 <= int(text) <= most):
        raise BadRequest(f"limit={text[:40]!r}, expected a number from 1 to {most}")
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
    """Choose.

    Args:
        accept: the header; empty accepts everything.
        offered: media types; the first one wins a tie.

    Raises:
        NotAcceptable: none of them is accepted.
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
    """Of the most specific range that covers `kind`."""
    for pattern in (kind, kind.partition("/")[0] + "/*", "*/*"):
        for got, quality in ranges:
            if got == pattern:
                return quality
    return 0.0
