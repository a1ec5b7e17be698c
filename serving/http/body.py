"""Request bodies: a raw picture, a multipart form, or JSON; compressed bodies are decompressed in steps.

Bodies stay in memory: no temporary files, no URLs. `serving.http.exchange` counts the bytes as they arrive,
so a body, also after decompression, is at most as large as its path allows.
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
"""Name of the form field that contains a picture."""
FORM_OVERHEAD_BYTES = 16 * 1024
"""Maximum size of boundaries and headers of a form with one file."""
# Maximum number of other fields in a form; they are ignored.
_MAX_OTHER_PARTS = 16
# RFC 7578, 4.7, forbids others in forms; these three leave the bytes unchanged (RFC 2045, 6.2).
_PLAIN_CODINGS = frozenset({b"7bit", b"8bit", b"binary"})


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


# zlib's window sizes: gzip (RFC 1952) and zlib (RFC 1950), which HTTP calls deflate.
_CONTAINERS = MappingProxyType({"gzip": 31, "x-gzip": 31, "deflate": 15})
_IDENTITY = frozenset({"", "identity"})
# Maximum output of a step: 0.2 ms of work, during which the event loop is blocked.
STEP_BYTES = 64 * 1024


class Decompressor:
    """Decompresses one body in steps, as its parts arrive."""

    def __init__(self, encoding: str, *, limit: int) -> None:
        """Create a decompressor.

        Args:
            encoding: the `Content-Encoding`: `gzip` or `deflate`.
            limit: maximum size after decompression, bytes; at most one step more is produced.

        Raises:
            EncodingUnsupported: another encoding, or several.
        """
        self._encoding = encoding.strip().lower()
        if self._encoding not in _CONTAINERS:
            raise EncodingUnsupported(got=encoding.strip()[:40], expected="gzip, deflate or none")
        self._decompressor = zlib.decompressobj(_CONTAINERS[self._encoding])
        self._limit = limit
        self._waiting = b""
        self._produced = 0
        self.has_more = False
        """Whether `step` may return bytes without another `feed`."""

    def feed(self, data: bytes) -> None:
        """Add the next part of the compressed body; only while `has_more` is false."""
        self._waiting = data
        self.has_more = bool(data)

    def step(self) -> bytes:
        """Decompress the next bytes, at most `STEP_BYTES`.

        Raises:
            PayloadTooLarge: the decompressed body is too large.
            BadRequest: the data is damaged, or other data follows it.
        """
        try:
            data = self._decompressor.decompress(self._waiting, STEP_BYTES)
        except zlib.error as error:
            raise BadRequest(f"the body is not {self._encoding} ({error}); send it again") from error
        self._waiting = self._decompressor.unconsumed_tail
        self.has_more = bool(self._waiting) or len(data) == STEP_BYTES
        self._produced += len(data)
        if self._produced > self._limit:
            raise PayloadTooLarge(limit=self._limit)
        if self._decompressor.unused_data:
            raise BadRequest(
                f"other data follows the {self._encoding} data in the body; send one compressed body"
            )
        return data

    def finish(self) -> None:
        """Check that the compressed body is complete.

        Raises:
            BadRequest: the body ends too early.
        """
        if not self._decompressor.eof:
            raise BadRequest(f"the {self._encoding} data in the body is incomplete; send it again")


def is_compressed(encoding: str) -> bool:
    """Whether a `Content-Encoding` requires decompression."""
    return encoding.strip().lower() not in _IDENTITY
