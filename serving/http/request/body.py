"""What requests hold and responses carry: options of the query; a picture, a form or JSON as the body.

Bodies stay in memory: no temporary files, no URLs. `serving.http.middleware` counts the bytes as they arrive,
so a body, also after decompression, is at most as large as its endpoint allows.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast, get_args
from urllib.parse import parse_qsl

import orjson
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive

from serving.detection.detector import Options
from serving.detection.image_reader import FacesMode
from serving.detection.responses import encode
from serving.errors import (
    BadRequest,
    BodiesFull,
    ContentUnsupported,
    PayloadTooLarge,
    PictureAsText,
    ServingError,
    TooManyFiles,
)

FIELD = "file"
"""Name of the form field that contains a picture."""
FORM_OVERHEAD_BYTES = 16 * 1024
"""Maximum size of boundaries and headers of a form with one file."""
# Maximum number of other fields in a form; they are ignored.
_MAX_OTHER_PARTS = 16
# RFC 7578, 4.7, forbids others in forms; these three leave the bytes unchanged (RFC 2045, 6.2).
_PLAIN_CODINGS = frozenset({b"7bit", b"8bit", b"binary"})
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


@dataclass(frozen=True, slots=True)
class Upload:
    """One file of a form."""

    name: str
    """The client's name of the file; only repeated in the answer, never opened. Empty if it sent none."""
    data: bytes
    error: ServingError | None = None
    """Why the file cannot be analysed; None: it can."""


async def read_picture(request: Request, *, max_bytes: int) -> bytes:
    """Read the picture of a request: the form field `file`, or the whole body.

    Raises:
        BadRequest: the form is damaged or does not have exactly one file.
        PayloadTooLarge: the picture has more than `max_bytes`.
    """
    boundary = _boundary(request)
    if boundary is None:
        data = await _read(request.receive)
        if len(data) > max_bytes:
            raise PayloadTooLarge(limit=max_bytes)
        return data
    files = await _read_form(request.receive, boundary, max_bytes=max_bytes, max_files=2)
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
    boundary = _boundary(request)
    if boundary is None:
        raise ContentUnsupported(
            got=request.headers.get("content-type", ""), expected=f"multipart/form-data with fields {FIELD!r}"
        )
    files = await _read_form(request.receive, boundary, max_bytes=max_bytes, max_files=max_files)
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


def _boundary(request: Request) -> bytes | None:
    """Return the boundary of a form; None if the body is not a form.

    Raises:
        BadRequest: the form has no boundary.
    """
    value = request.headers.get("content-type", "")
    if not value.lower().startswith("multipart/"):
        return None
    kind, options = parse_options_header(value)
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise BadRequest(f"the content type is {value!r}, expected multipart/form-data with a boundary")
    return bytes(boundary)


async def _read_form(receive: Receive, boundary: bytes, *, max_bytes: int, max_files: int) -> list[Upload]:
    form = _Form(max_bytes=max_bytes, max_files=max_files)
    try:
        parser = MultipartParser(boundary, form.callbacks())
        more = True
        while more:
            message = await receive()
            parser.write(message.get("body", b""))
            more = message.get("more_body", False)
    except FormParserError as error:
        raise BadRequest(f"the form is damaged ({error}); send it again") from error
    if not form.ended:
        raise BadRequest("the form ends before its closing boundary; send it again")
    return form.files()


@dataclass(slots=True)
class _Part:
    headers: dict[bytes, bytes] = field(default_factory=dict)
    data: bytearray = field(default_factory=bytearray)
    size: int = 0
    name: str | None = None
    """Name of the field; None until the headers are read."""
    file_name: str = ""
    error: ServingError | None = None
    """Why the file cannot be analysed; None: it can."""


class _Form:
    """Collects the parts of a form from python-multipart's callbacks."""

    def __init__(self, *, max_bytes: int, max_files: int) -> None:
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._parts: list[_Part] = []
        self._others = 0
        self._header = (bytearray(), bytearray())
        self.ended = False

    def callbacks(self) -> Any:
        """The callbacks for the parser."""
        return {
            "on_part_begin": lambda: self._parts.append(_Part()),
            "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._part_data,
            "on_end": self._end,
        }

    def files(self) -> list[Upload]:
        """Return the pictures, in order."""
        return [
            Upload(
                part.file_name,
                bytes(part.data),
                PayloadTooLarge(limit=self._max_bytes) if part.size > self._max_bytes else part.error,
            )
            for part in self._parts
        ]

    def _header_end(self) -> None:
        name, value = self._header
        self._parts[-1].headers[bytes(name).lower()] = bytes(value)
        self._header = (bytearray(), bytearray())

    def _headers_finished(self) -> None:
        part = self._parts[-1]
        _, options = parse_options_header(part.headers.get(b"content-disposition", b""))
        part.name = options.get(b"name", b"").decode("utf-8", "replace")
        part.file_name = options.get(b"filename", b"").decode("utf-8", "replace")
        coding = part.headers.get(b"content-transfer-encoding", b"binary").strip().lower()
        if part.name == FIELD and coding not in _PLAIN_CODINGS:
            shown = coding[:40].decode("latin-1")
            part.error = PictureAsText(recognised=f"a part of a form with Content-Transfer-Encoding: {shown}")
        if part.name != FIELD:
            self._others += 1
            if self._others > _MAX_OTHER_PARTS:
                raise BadRequest(f"the form has more than {_MAX_OTHER_PARTS} fields not named {FIELD!r}")
        elif (count := len(self._parts) - self._others) > self._max_files:
            raise TooManyFiles(got=count, limit=self._max_files)

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        part = self._parts[-1]
        part.size += end - start
        if part.name != FIELD:
            return
        if part.size <= self._max_bytes:
            part.data += memoryview(data)[start:end]
        else:
            part.data.clear()

    def _end(self) -> None:
        self.ended = True
        self._parts = [part for part in self._parts if part.name == FIELD]
