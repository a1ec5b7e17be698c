"""The client id for the canary."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from starlette.requests import Request

from serving.http.auth import Caller, client_id_of


def request(caller: Caller, client: str | None, *, canary: object = "one") -> Request:
    dependencies = SimpleNamespace(experiments=SimpleNamespace(canary=canary))
    state = {"caller": caller, "client": client, "request_id": "abc", "dependencies": dependencies}
    return Request({"type": "http", "state": state, "headers": []})


KEY, ANONYMOUS = Caller("app", "predict"), Caller("anonymous", "predict")


@pytest.mark.parametrize(
    ("caller", "client", "expected"),
    [
        pytest.param(KEY, "203.0.113.7", "key app", id="key"),
        pytest.param(KEY, "127.0.0.1", "key app", id="key-behind-a-proxy"),
        pytest.param(ANONYMOUS, "203.0.113.7", "from 203.0.113.7", id="address"),
        pytest.param(ANONYMOUS, "2001:db8::1", "from 2001:db8::1", id="address-6"),
        pytest.param(ANONYMOUS, "127.0.0.1", "request abc", id="this-machine"),
        pytest.param(ANONYMOUS, "::1", "request abc", id="this-machine-6"),
        pytest.param(ANONYMOUS, None, "request abc", id="unix-socket"),
        pytest.param(ANONYMOUS, "testclient", "request abc", id="no-address"),
    ],
)
def test_a_client_is_known_by_its_key_its_address_or_not_at_all(
    caller: Caller, client: str | None, expected: str
) -> None:
    assert client_id_of(request(caller, client)) == expected


def test_without_a_canary_no_client_id_is_read() -> None:
    assert client_id_of(request(KEY, "203.0.113.7", canary=None)) is None
