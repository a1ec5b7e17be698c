"""Bodies: raw, multipart, JSON; whole and broken."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from serving.errors.requests import BadRequest, ContentUnsupported, PayloadTooLarge, TooManyFiles
from serving.http.request.body import read_json, read_picture, read_pictures
from serving.http.request.form import Upload

BOUNDARY = "----frontier"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


def request(body: bytes, content_type: str | None = None, *, pieces: int = 1) -> Request:
    """A request whose body comes in `pieces` pieces."""
    size = -(-len(body) // pieces) or 1
    parts = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
    messages = iter(
        {"type": "http.request", "body": part, "more_body": index + 1 < len(parts)}
        for index, part in enumerate(parts)
    )

    async def receive() -> Any:
        return next(messages)

    headers = [(b"content-type", content_type.encode())] if content_type else []
    return Request({"type": "http", "headers": headers, "method": "POST", "path": "/"}, receive)


def part(data: bytes, *, name: str = "file", file_name: str = "a.png") -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{file_name}"\r\n'
    return head.encode() + b"Content-Type: image/png\r\n\r\n" + data + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def picture(body: bytes, content_type: str | None = None, *, pieces: int = 1, max_bytes: int = 1000) -> bytes:
    return asyncio.run(read_picture(request(body, content_type, pieces=pieces), max_bytes=max_bytes))


def pictures(body: bytes, *, max_bytes: int = 1000, max_files: int = 3) -> list[Upload]:
    return asyncio.run(read_pictures(request(body, FORM), max_bytes=max_bytes, max_files=max_files))


@pytest.mark.parametrize("content_type", [None, "image/png", "application/x-www-form-urlencoded"])
def test_any_other_body_is_the_picture_itself(content_type: str | None) -> None:
    assert picture(b"abc" * 100, content_type, pieces=7) == b"abc" * 100


def test_a_raw_body_above_the_limit_is_refused() -> None:
    with pytest.raises(PayloadTooLarge):
        picture(b"x" * 1001)


@given(data=st.binary(max_size=400), pieces=st.integers(1, 300))
def test_a_file_comes_out_of_a_form_as_it_went_in(data: bytes, pieces: int) -> None:
    assert picture(form(part(data)), FORM, pieces=pieces) == data


def test_other_fields_are_passed_over() -> None:
    assert picture(form(part(b"no", name="note"), part(b"yes"), part(b"no", name="x")), FORM) == b"yes"


@pytest.mark.parametrize(
    ("body", "content_type", "message"),
    [
        pytest.param(form(), FORM, "no field named 'file'", id="empty"),
        pytest.param(form(part(b"x", name="image")), FORM, "no field named 'file'", id="other-name"),
        pytest.param(form(part(b"x"), part(b"y")), FORM, "several fields", id="two"),
        pytest.param(part(b"x"), FORM, "ends before", id="unfinished"),
        pytest.param(form(part(b"x"))[:-4], FORM, "ends before", id="no-end"),
        pytest.param(b"", FORM, "ends before", id="zero-bytes"),
        pytest.param(b"nonsense", FORM, "damaged", id="no-form"),
        pytest.param(form(part(b"x")), "multipart/form-data", "boundary", id="no-boundary"),
        pytest.param(form(part(b"x")), "multipart/mixed; boundary=a", "multipart/form-data", id="mixed"),
        pytest.param(b"x", f"multipart/form-data; boundary={'b' * 500}", "damaged", id="long-boundary"),
        pytest.param(b"--" + BOUNDARY.encode() + b"\r\n" + b"A" * 20_000, FORM, "damaged", id="long-header"),
        pytest.param(form(*[part(b"", name="x")] * 20), FORM, "more than 16 fields", id="many-fields"),
    ],
)
def test_a_form_that_is_none_says_what_is_wrong(body: bytes, content_type: str, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        picture(body, content_type)


def test_a_file_above_the_limit_is_refused() -> None:
    assert len(picture(form(part(b"x" * 1000)), FORM)) == 1000
    with pytest.raises(PayloadTooLarge):
        picture(form(part(b"x" * 1001)), FORM)


def test_several_files_come_in_order_and_one_too_large_carries_its_error() -> None:
    body = form(part(b"1", file_name="one"), part(b"2" * 1001, file_name="two"), part(b"3", file_name=""))
    first, second, third = pictures(body)
    assert (first.name, first.data, first.error) == ("one", b"1", None)
    assert (second.name, second.data, type(second.error)) == ("two", b"", PayloadTooLarge)
    assert (third.name, third.data, third.error) == ("", b"3", None)


def test_more_files_than_allowed_are_refused() -> None:
    with pytest.raises(TooManyFiles):
        pictures(form(*[part(b"x")] * 4))


def test_several_files_need_a_form() -> None:
    with pytest.raises(ContentUnsupported):
        asyncio.run(read_pictures(request(b"x", "image/png"), max_bytes=9, max_files=9))


@given(body=st.binary(max_size=200), pieces=st.integers(1, 20))
def test_nonsense_in_a_form_is_the_clients_error_and_nothing_else(body: bytes, pieces: int) -> None:
    start = f"--{BOUNDARY}\r\n".encode()
    with suppress(BadRequest):
        picture(start + body, FORM, pieces=pieces)


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8"])
def test_a_json_object_is_read(content_type: str) -> None:
    assert asyncio.run(read_json(request(b'{"a": 1}', content_type))) == {"a": 1}


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"1", b"null", b'"a"', b"\xff", b"[" * 10_000])
def test_what_is_not_a_json_object_is_refused(body: Sequence[int]) -> None:
    with pytest.raises(BadRequest):
        asyncio.run(read_json(request(bytes(body), "application/json")))


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_json_must_be_called_json(content_type: str | None) -> None:
    with pytest.raises(ContentUnsupported):
        asyncio.run(read_json(request(b"{}", content_type)))
