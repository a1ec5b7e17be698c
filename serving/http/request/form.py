"""Forms with files (multipart/form-data), parsed as they arrive and kept in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from serving.errors import PictureAsText, ServingError
from serving.errors.requests import BadRequest, PayloadTooLarge, TooManyFiles

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


async def read_form(request: Request, *, max_bytes: int, max_files: int) -> list[Upload]:
    """Read the files of a form, in order; a file that is too large has its error instead of data.

    Raises:
        BadRequest: the form is damaged, or another kind of multipart body.
        TooManyFiles: the form has more than `max_files`.
    """
    boundary = _boundary(request)
    form = _Form(max_bytes=max_bytes, max_files=max_files)
    try:
        parser = MultipartParser(boundary, form.callbacks())
        more = True
        while more:
            message = await request.receive()
            parser.write(message.get("body", b""))
            more = message.get("more_body", False)
    except FormParserError as error:
        raise BadRequest(f"the form is damaged ({error}); send it again") from error
    if not form.ended:
        raise BadRequest("the form ends before its closing boundary; send it again")
    return form.files()


def _boundary(request: Request) -> bytes:
    """Return the boundary of a form.

    Raises:
        BadRequest: the form has no boundary.
    """
    value = request.headers.get("content-type", "")
    kind, options = parse_options_header(value)
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise BadRequest(f"the content type is {value!r}, expected multipart/form-data with a boundary")
    return bytes(boundary)


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
