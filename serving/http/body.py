"""Request bodies: a raw picture, a multipart form, or JSON. In memory only; no temporary files, no URLs.

The middleware has counted the bytes before they come here, so a body is at most as large as its path allows.

Compressed bodies, unpacked a step at a time to at most as many bytes as an uncompressed one may have.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import orjson
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request
from starlette.types import Receive

from serving.errors import (
    BadRequest,
    ContentUnsupported,
    EncodingUnsupported,
    PayloadTooLarge,
    PictureAsText,
    ServingError,
    TooManyFiles,
)

FIELD = "file"
"""Name of the form's field that carries a picture."""
FORM_OVERHEAD_BYTES = 16 * 1024
"""Boundaries and headers of a form with one file."""
# Fields besides the pictures that a form may have; they are passed over.
_MAX_OTHER_PARTS = 16
# RFC 7578, 4.7, has no others in forms; these three leave bytes as they are (RFC 2045, 6.2).
_PLAIN_CODINGS = frozenset({b"7bit", b"8bit", b"binary"})


@dataclass(frozen=True, slots=True)
class Upload:
    """One file of a form."""

    name: str
    """As the client calls it; shown back, never opened. Empty when it gave none."""
    data: bytes
    error: ServingError | None = None
    """Why it is not to be looked at."""


async def read_picture(request: Request, *, max_bytes: int) -> bytes:
    """The one picture of a request: the form's field `file`, or the body as it is.

    Raises:
        BadRequest: a form that is damaged, or has not exactly one file.
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
            'send it as `curl -F "file=@photo.jpg"`, and several pictures to /detect/batch'
        )
    if files[0].error is not None:
        raise files[0].error
    return files[0].data


async def read_pictures(request: Request, *, max_bytes: int, max_files: int) -> list[Upload]:
    """All pictures of a form, in order; one that is too large carries its error.

    Raises:
        ContentUnsupported: the body is no form.
        BadRequest: the form is damaged or has no file.
        TooManyFiles: more than `max_files`.
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
    """A JSON object.

    The content type must say so: pages of other origins cannot send it without asking first (CORS).

    Raises:
        ContentUnsupported: another content type.
        BadRequest: not JSON, or no object.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise ContentUnsupported(got=content_type, expected="application/json")
    try:
        value = orjson.loads(await _read(request.receive))
    except ValueError as error:
        raise BadRequest(f"the body is no JSON ({error}); expected one object") from error
    if not isinstance(value, dict):
        raise BadRequest(f"the body is a JSON {type(value).__name__}, expected one object")
    return value


async def read_body(request: Request, *, expected: Collection[str]) -> bytes:
    """The body as it is, of one of the expected media types; `""` among them takes one without a type.

    Raises:
        ContentUnsupported: another media type.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in expected:
        raise ContentUnsupported(got=kind, expected=" or ".join(name for name in expected if name))
    return await _read(request.receive)


async def _read(receive: Receive) -> bytes:
    message = await receive()
    # A body that came in one piece, as most do, is not copied.
    if not message.get("more_body", False):
        return bytes(message.get("body", b""))
    parts = [message.get("body", b"")]
    while message.get("more_body", False):
        message = await receive()
        parts.append(message.get("body", b""))
    return b"".join(parts)


def _boundary(request: Request) -> bytes | None:
    """Of a form; None when the body is none.

    Raises:
        BadRequest: a form without a boundary.
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
        raise BadRequest("the form breaks off before its closing boundary; send it again")
    return form.files()


@dataclass(slots=True)
class _Part:
    headers: dict[bytes, bytes] = field(default_factory=dict)
    data: bytearray = field(default_factory=bytearray)
    size: int = 0
    name: str | None = None
    """Of the field; None until the headers are read."""
    file_name: str = ""
    error: ServingError | None = None
    """Why it is not to be looked at."""


class _Form:
    """Collects the parts that python-multipart tells of."""

    def __init__(self, *, max_bytes: int, max_files: int) -> None:
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._parts: list[_Part] = []
        self._others = 0
        self._header = (bytearray(), bytearray())
        self.ended = False

    def callbacks(self) -> Any:
        """For the parser."""
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
        """The pictures, in order."""
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


# zlib's own numbers for the container: gzip (RFC 1952), and zlib (RFC 1950), which HTTP calls deflate.
_CONTAINERS = MappingProxyType({"gzip": 31, "x-gzip": 31, "deflate": 15})
_IDENTITY = frozenset({"", "identity"})
# Most bytes of a step: 0.2 ms of work, during which nothing else is answered.
STEP_BYTES = 64 * 1024


class Unpacker:
    """Unpacks one body, as its parts come."""

    def __init__(self, encoding: str, *, limit: int) -> None:
        """Begin.

        Args:
            encoding: `gzip` or `deflate`, as `Content-Encoding` has it.
            limit: most bytes that the body may become; never more than a step beyond are made.

        Raises:
            EncodingUnsupported: another encoding, or several.
        """
        self._encoding = encoding.strip().lower()
        if self._encoding not in _CONTAINERS:
            raise EncodingUnsupported(got=encoding.strip()[:40], expected="gzip, deflate or none")
        self._unpacker = zlib.decompressobj(_CONTAINERS[self._encoding])
        self._limit = limit
        self._waiting = b""
        self._made = 0
        self.has_more = False
        """Whether `step` may give something without being fed."""

    def feed(self, data: bytes) -> None:
        """Take the next part of the compressed body, once `has_more` is false."""
        self._waiting = data
        self.has_more = bool(data)

    def step(self) -> bytes:
        """The next bytes, at most `STEP_BYTES`.

        Raises:
            PayloadTooLarge: the body becomes too large.
            BadRequest: it is damaged, or something follows it.
        """
        try:
            data = self._unpacker.decompress(self._waiting, STEP_BYTES)
        except zlib.error as error:
            raise BadRequest(f"the body is not {self._encoding} ({error}); send it again") from error
        self._waiting = self._unpacker.unconsumed_tail
        self.has_more = bool(self._waiting) or len(data) == STEP_BYTES
        self._made += len(data)
        if self._made > self._limit:
            raise PayloadTooLarge(limit=self._limit)
        if self._unpacker.unused_data:
            raise BadRequest(f"something follows the {self._encoding} in the body; send one compressed body")
        return data

    def finish(self) -> None:
        """Take the end of the compressed body.

        Raises:
            BadRequest: it comes too early.
        """
        if not self._unpacker.eof:
            raise BadRequest(f"the {self._encoding} in the body breaks off; send it again")


def is_packed(encoding: str) -> bool:
    """Whether a `Content-Encoding` means something that has to be unpacked."""
    return encoding.strip().lower() not in _IDENTITY
