"""What clients write behind `?`, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast, get_args
from urllib.parse import parse_qsl

from starlette.requests import Request

from serving.answering.detect import Options
from serving.answering.pictures import FacesMode
from serving.failures import BadRequest

_MODES = get_args(FacesMode)
_DEFAULT = Options()


def read_options(request: Request) -> Options:
    """`faces` and `min_probability`.

    Raises:
        BadRequest: another value than those that are documented.
    """
    query = request.scope["query_string"]
    if not query:
        return _DEFAULT
    values = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    return Options(faces=_faces(values), min_probability=_number(values, "min_probability"))


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
