"""Which media type a client gets."""

from __future__ import annotations

import pytest

from serving.errors.requests import NotAcceptable
from serving.http.routes.detect import preferred

OFFERED = ("application/json", "image/png")


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("image/png", "image/png"),
        ("IMAGE/PNG", "image/png"),
        ("image/*", "image/png"),
        ("image/png;q=0.5, application/json", "application/json"),
        ("application/json;q=0.5, image/png", "image/png"),
        ("image/png, */*;q=0.1", "image/png"),
        ("application/json;q=0, */*", "image/png"),
        ("text/html, image/png;q=nonsense, */*;q=0.2", "application/json"),
    ],
)
def test_the_client_gets_what_it_likes_best(accept: str, kind: str) -> None:
    assert preferred(accept, offered=OFFERED) == kind


@pytest.mark.parametrize("accept", ["text/html", "image/jpeg", "*/*;q=0", ",", ";", "image/png;q=0"])
def test_nothing_acceptable_is_said(accept: str) -> None:
    with pytest.raises(NotAcceptable):
        preferred(accept, offered=OFFERED)
