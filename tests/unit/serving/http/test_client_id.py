"""Whose request it is, for the canary's share."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from starlette.requests import Request

from serving.http.auth import Caller, subject_of


def request(caller: Caller, client: str | None, *, canary: object = "one") -> Request:
    parts = SimpleNamespace(trials=SimpleNamespace(canary=canary))
    state = {"caller": caller, "client": client, "request_id": "abc"}
    app = SimpleNamespace(state=SimpleNamespace(parts=parts))
    return Request({"type": "http", "app": app, "state": state, "headers": []})


KEY, NOBODY = Caller("app", "predict"), Caller("anonymous", "predict")


@pytest.mark.parametrize(
    ("caller", "client", "subject"),
    [
        pytest.param(KEY, "203.0.113.7", "key app", id="key"),
        pytest.param(KEY, "127.0.0.1", "key app", id="key-behind-a-proxy"),
        pytest.param(NOBODY, "203.0.113.7", "from 203.0.113.7", id="address"),
        pytest.param(NOBODY, "2001:db8::1", "from 2001:db8::1", id="address-6"),
        pytest.param(NOBODY, "127.0.0.1", "request abc", id="this-machine"),
        pytest.param(NOBODY, "::1", "request abc", id="this-machine-6"),
        pytest.param(NOBODY, None, "request abc", id="unix-socket"),
        pytest.param(NOBODY, "testclient", "request abc", id="no-address"),
    ],
)
def test_a_client_is_known_by_its_key_its_address_or_not_at_all(
    caller: Caller, client: str | None, subject: str
) -> None:
    assert subject_of(request(caller, client)) == subject


def test_without_a_canary_nobody_is_asked_for() -> None:
    assert subject_of(request(KEY, "203.0.113.7", canary=None)) is None
