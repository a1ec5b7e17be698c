"""Reads the contract's `image` tensor from bytes and JSON: exactly uint8 [n, H, W, 3], without casts.

A value that is not a whole number from 0 to 255 is refused: a client that scaled its pictures to [0, 1] would
otherwise get confident but wrong answers.

Framing of the binary tensor data extension: a JSON object, then the tensors' bytes without any padding.
An HTTP header states the length of the JSON; without it the whole body is JSON, and 0 means no JSON.
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import orjson

from serving.contract import Image, InputSpec
from serving.errors.requests import BadRequest, TooManyPictures

CHANNELS = 3
# `255, 255, 255], [`: what Python's json writes of one pixel, 17 characters, and some for the rows.
_JSON_BYTES_PER_VALUE = 6
# Without spaces: uniform values have 2.6 digits and a comma.
_COMPACT_BYTES_PER_VALUE = 4
# Names, shapes, parameters, base64's line ends; generous.
_OTHER_BYTES = 64 * 1024
_OTHER_ITEMS = 10_000


def picture_bytes(spec: InputSpec) -> int:
    """Bytes of one picture as the network wants it."""
    return spec.height * spec.width * CHANNELS


def body_bytes(spec: InputSpec, *, most: int) -> int:
    """Largest body that `most` pictures can need: as nested JSON, the widest form."""
    return most * picture_bytes(spec) * _JSON_BYTES_PER_VALUE + _OTHER_BYTES


def likely_count(size: int, spec: InputSpec, *, most: int, is_binary: bool = False) -> int:
    """How many pictures a body of `size` bytes seems to hold, without reading it; from 1 to `most`."""
    of_one = picture_bytes(spec) * (1 if is_binary else _COMPACT_BYTES_PER_VALUE)
    return min(most, max(1, size // of_one))


def load(text: bytes | memoryview, spec: InputSpec, *, most: int) -> dict[str, Any]:
    """Read a JSON object that has at most the values of `most` pictures.

    They are counted before they are parsed: as Python's objects `[],` takes twenty times its bytes.

    Raises:
        BadRequest: not JSON, or not an object.
        TooManyPictures: more lists or values than the pictures have.
    """
    data = bytes(text)
    pixels = spec.height * spec.width
    lists, values = data.count(b"[") + data.count(b"{"), data.count(b",")
    if lists > most * (pixels + spec.height + 2) + _OTHER_ITEMS:
        raise TooManyPictures(got=-(-lists // pixels), limit=most)
    if values > most * (picture_bytes(spec) + 1) + _OTHER_ITEMS:
        raise TooManyPictures(got=-(-values // picture_bytes(spec)), limit=most)
    try:
        loaded = orjson.loads(data)
    except ValueError as error:
        raise BadRequest(f"the body is not JSON ({error}); expected one object") from error
    if not isinstance(loaded, dict):
        raise BadRequest(f"the body is a JSON {type(loaded).__name__}, expected one object")
    return loaded


def check_count(count: int, *, most: int) -> None:
    """Check a number of pictures against the limit.

    Raises:
        BadRequest: there are none.
        TooManyPictures: more than `most`.
    """
    if count < 1:
        raise BadRequest("there are 0 pictures, expected at least one")
    if count > most:
        raise TooManyPictures(got=count, limit=most)


def from_bytes(data: memoryview, spec: InputSpec, count: int) -> Image:
    """Pictures [count, H, W, 3] that share the bytes' memory; read-only.

    Raises:
        BadRequest: not as many bytes as the pictures have.
    """
    expected = count * picture_bytes(spec)
    if len(data) != expected:
        raise BadRequest(
            f"the tensor has {len(data)} bytes, expected {expected} of {shape_text(spec, count)}"
        )
    return np.frombuffer(data, np.uint8).reshape(count, spec.height, spec.width, CHANNELS)


def from_values(values: object, spec: InputSpec, count: int) -> Image:
    """Pictures [count, H, W, 3] from JSON's lists: nested as the shape says, or flat and row-major.

    Raises:
        BadRequest: another shape, or a value that is not a uint8.
    """
    if not isinstance(values, list):
        raise BadRequest(f"the tensor's data is {json_type(values)}, expected a list")
    if values and not isinstance(values[0], list):
        size = picture_bytes(spec)
        if len(values) != count * size:
            raise BadRequest(
                f"the tensor has {len(values)} values, expected {count * size} of {shape_text(spec, count)}"
            )
        parts = [_packed(values[at : at + size]) for at in range(0, len(values), size)]
        return from_bytes(memoryview(b"".join(parts)), spec, count)
    if len(values) != count:
        raise BadRequest(f"the tensor's data has {len(values)} pictures, expected {shape_text(spec, count)}")
    return np.stack([nested(value, spec, index) for index, value in enumerate(values)])


def nested(value: object, spec: InputSpec, index: int) -> Image:
    """One picture [H, W, 3] from nested lists, or from a flat one, row-major.

    Args:
        value: the lists.
        spec: says the shape.
        index: of the picture, for the message.

    Raises:
        BadRequest: another shape, or a value that is not a uint8.
    """
    level: list[Any] = [value]
    flat = isinstance(value, list) and value and not isinstance(value[0], list)
    for side in (picture_bytes(spec),) if flat else (spec.height, spec.width, CHANNELS):
        if set(map(type, level)) != {list} or set(map(len, level)) != {side}:
            raise BadRequest(
                f"picture {index} is not [{spec.height}, {spec.width}, {CHANNELS}], "
                "which the model wants; see its metadata"
            )
        level = list(chain.from_iterable(level))
    return np.frombuffer(_packed(level), np.uint8).reshape(spec.height, spec.width, CHANNELS)


def shape_text(spec: InputSpec, count: int | None = None) -> str:
    """The tensor's shape for messages."""
    return f"uint8 [{'n' if count is None else count}, {spec.height}, {spec.width}, {CHANNELS}]"


def json_type(value: object) -> str:
    """What a JSON value is, for messages."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _packed(values: list[Any]) -> bytes:
    try:
        # `bytes` takes true for 1.
        if set(map(type, values)) <= {int}:
            return bytes(values)
    except ValueError:
        pass
    wrong = next(value for value in values if type(value) is not int or not 0 <= value <= 255)
    text = orjson.dumps(wrong)[:40].decode(errors="replace")
    raise BadRequest(f"the tensor holds {text}, expected whole numbers from 0 to 255 (uint8, not scaled)")


LENGTH_HEADER = "Inference-Header-Content-Length"
# More digits than any body's length has; `int` would take thousands of them, and time for it.
_MAX_DIGITS = 12
_ELEMENT = struct.Struct("<I")


def split(body: bytes, length: str | None) -> tuple[memoryview, memoryview]:
    """Split a body into its JSON and its tensors' bytes, without copies.

    Args:
        body: of the request.
        length: of the JSON in bytes, as the header says; None without the header.

    Raises:
        BadRequest: the length is not a number, or is larger than the body.
    """
    view = memoryview(body)
    if length is None:
        return view, view[len(view) :]
    if not (length.isascii() and length.isdecimal() and len(length) <= _MAX_DIGITS):
        raise BadRequest(f"{LENGTH_HEADER} is {length[:40]!r}, expected the length of the JSON in bytes")
    at = int(length)
    if at > len(view):
        raise BadRequest(f"{LENGTH_HEADER} is {at}, but the body has {len(view)} bytes; send it whole")
    return view[:at], view[at:]


def join(header: bytes, tensors: Sequence[bytes | memoryview]) -> bytes:
    """The JSON and the tensors' bytes as one body."""
    return b"".join([header, *tensors])


def texts(elements: Iterable[str]) -> bytes:
    """A BYTES tensor: of each element its length, uint32, and its UTF-8."""
    encoded = [element.encode() for element in elements]
    return b"".join(_ELEMENT.pack(len(element)) + element for element in encoded)
