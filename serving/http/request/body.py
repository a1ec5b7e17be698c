"""What requests hold and responses carry: options of the query; a picture, pictures or JSON as the body.

Bodies stay in memory: no temporary files, no URLs. `serving.http.middleware` counts the bytes as they arrive,
so a body, also after decompression, is at most as large as its endpoint allows.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, cast, get_args
from urllib.parse import parse_qsl

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive

from serving.detection.detector import Options
from serving.detection.image_reader import FacesMode
from serving.detection.responses import encode
from serving.errors.requests import BadRequest, BodiesFull, ContentUnsupported, PayloadTooLarge
from serving.http.request.form import FIELD, Upload, read_form

_FACES_MODES = get_args(FacesMode)
_DEFAULT_OPTIONS = Options()
_MAX_CACHED_BYTES = 64
_EXAMPLE = '{"faces": "auto", "min_probability": 0.5}'


class HeldBytes:
    """Limit of the bytes of request bodies in memory; for one event loop.

    The queue limits the pictures that wait for the network; this limits those that are still arriving.
    """

    def __init__(self, limit: int) -> None:
        """Create a limit of `limit` bytes at once."""
        self._limit = limit
        self._held = 0

    def take(self, count: int) -> None:
        """Hold `count` more bytes.

        Raises:
            BodiesFull: the limit would be exceeded; nothing was taken.
        """
        if self._held + count > self._limit:
            raise BodiesFull(limit=self._limit)
        self._held += count

    def give_back(self, count: int) -> None:
        """Release `count` bytes."""
        self._held -= count


def json_response(body: Any, *, status: int = 200) -> Response:
    """Create a JSON response."""
    return Response(encode(body), status_code=status, media_type="application/json")


def read_options(request: Request) -> Options:
    """Read `faces` and `min_probability` from the query.

    Raises:
        BadRequest: a value is not one of the documented values.
    """
    query = request.scope["query_string"]
    if not query:
        return _DEFAULT_OPTIONS
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
    mode = values.get("faces", _DEFAULT_OPTIONS.faces)
    if mode not in _FACES_MODES:
        raise BadRequest(f"faces={mode[:40]!r}, expected one of {', '.join(_FACES_MODES)}")
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


async def read_picture(request: Request, *, max_bytes: int) -> bytes:
    """Read the picture of a request: the form field `file`, or the whole body.

    Raises:
        BadRequest: the form is damaged or does not have exactly one file.
        PayloadTooLarge: the picture has more than `max_bytes`.
    """
    if not _is_form(request):
        data = await _read(request.receive)
        if len(data) > max_bytes:
            raise PayloadTooLarge(limit=max_bytes)
        return data
    files = await read_form(request, max_bytes=max_bytes, max_files=2)
    if len(files) != 1:
        raise BadRequest(
            f"the form has {'no field' if not files else 'several fields'} named {FIELD!r}, expected one; "
            'send `curl -F "file=@photo.jpg"`; send several pictures to /detect/batch'
        )
    if files[0].error is not None:
        raise files[0].error
    return files[0].data


async def read_pictures(request: Request, *, max_bytes: int, max_files: int) -> list[Upload]:
    """Read all pictures of a form, in order; a picture that is too large has its error instead of data.

    Raises:
        ContentUnsupported: the body is not a form.
        BadRequest: the form is damaged or has no file.
        TooManyFiles: the form has more than `max_files`.
    """
    if not _is_form(request):
        raise ContentUnsupported(
            got=request.headers.get("content-type", ""), expected=f"multipart/form-data with fields {FIELD!r}"
        )
    files = await read_form(request, max_bytes=max_bytes, max_files=max_files)
    if not files:
        raise BadRequest(
            f"the form has no field named {FIELD!r}; send `curl -F file=@one.jpg -F file=@two.jpg`"
        )
    return files


async def read_json(request: Request) -> dict[str, Any]:
    """Read a JSON object.

    The content type must be `application/json`: pages of other origins cannot send it without a CORS
    preflight.

    Raises:
        ContentUnsupported: the body has another content type.
        BadRequest: the body is not a JSON object.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise ContentUnsupported(got=content_type, expected="application/json")
    try:
        value = orjson.loads(await _read(request.receive))
    except ValueError as error:
        raise BadRequest(f"the body is not JSON ({error}); expected one object") from error
    if not isinstance(value, dict):
        raise BadRequest(f"the body is a JSON {type(value).__name__}, expected one object")
    return value


async def read_body(request: Request, *, expected: Collection[str]) -> bytes:
    """Read the body as bytes if its media type is expected; `""` accepts a body without a media type.

    Raises:
        ContentUnsupported: the media type is not expected.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in expected:
        raise ContentUnsupported(got=kind, expected=" or ".join(name for name in expected if name))
    return await _read(request.receive)


async def _read(receive: Receive) -> bytes:
    message = await receive()
    # Most bodies arrive in one piece, which is not copied.
    if not message.get("more_body", False):
        return bytes(message.get("body", b""))
    parts = [message.get("body", b"")]
    while message.get("more_body", False):
        message = await receive()
        parts.append(message.get("body", b""))
    return b"".join(parts)


def _is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").lower().startswith("multipart/")
