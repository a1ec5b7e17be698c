"""Who may ask for what."""

from __future__ import annotations

import pytest

from serving.errors.requests import Forbidden, Unauthorized
from serving.http.app import ROUTES
from serving.http.auth import Access, Caller, Origin, hash_key
from serving.http.middleware import RouteTable
from serving.settings import Settings

LOCAL = Origin(server="127.0.0.1", client="127.0.0.1", host="localhost:8000")
REMOTE = Origin(server="10.0.0.5", client="10.0.0.9", host="mien.example")
KEYS = (
    hash_key("app", "predict", "one"),
    hash_key("ops", "admin", "two"),
    hash_key("anna", "label", "three"),
)


@pytest.mark.parametrize(
    "origin",
    [
        pytest.param(LOCAL, id="name"),
        pytest.param(Origin("127.0.0.1", "127.0.0.1", "127.0.0.1"), id="address"),
        pytest.param(Origin("::1", "::1", "[::1]:8000"), id="ipv6"),
        pytest.param(Origin("::1", "::1", "[::1]"), id="ipv6-without-port"),
        pytest.param(Origin(None, None, "anything"), id="unix-socket"),
    ],
)
def test_without_keys_a_program_on_this_machine_may_do_everything(origin: Origin) -> None:
    access = Access((), allow_anonymous=False)
    assert access.admit("admin", key=None, origin=origin) == Caller("anonymous", "admin")
    assert access.admit("predict", key="left over", origin=origin).scope == "admin"


@pytest.mark.parametrize(
    "origin",
    [
        pytest.param(REMOTE, id="remote"),
        pytest.param(Origin("127.0.0.1", "127.0.0.1", "evil.example"), id="dns-rebinding"),
        pytest.param(Origin("127.0.0.1", "127.0.0.1", ""), id="no-host"),
        pytest.param(Origin("127.0.0.1", "203.0.113.7", "localhost"), id="through-a-proxy"),
        pytest.param(Origin("10.0.0.5", "127.0.0.1", "localhost"), id="other-address"),
        pytest.param(Origin("testserver", "127.0.0.1", "localhost"), id="no-address"),
    ],
)
def test_without_keys_other_machines_are_refused_with_the_reason(origin: Origin) -> None:
    access = Access((), allow_anonymous=False)
    with pytest.raises(Forbidden, match="MIEN_API_KEYS"):
        access.admit("predict", key=None, origin=origin)
    assert access.admit("open", key=None, origin=origin).scope == "open"


def test_everybody_may_predict_when_that_is_allowed_but_not_delete() -> None:
    access = Access((), allow_anonymous=True)
    assert access.admit("predict", key=None, origin=REMOTE) == Caller("anonymous", "predict")
    with pytest.raises(Forbidden, match="scope admin"):
        access.admit("admin", key=None, origin=REMOTE)


@pytest.mark.parametrize("origin", [LOCAL, REMOTE], ids=["local", "remote"])
def test_with_keys_one_is_needed_everywhere(origin: Origin) -> None:
    access = Access(KEYS, allow_anonymous=False)
    with pytest.raises(Unauthorized, match="no key was sent"):
        access.admit("predict", key=None, origin=origin)
    with pytest.raises(Unauthorized, match="not known"):
        access.admit("predict", key="wrong", origin=origin)
    assert access.admit("predict", key="one", origin=origin) == Caller("app", "predict")


def test_a_scope_reaches_as_far_as_it_says() -> None:
    access = Access(KEYS, allow_anonymous=False)
    assert access.admit("admin", key="two", origin=REMOTE).name == "ops"
    assert access.admit("predict", key="two", origin=REMOTE).name == "ops"
    with pytest.raises(Forbidden, match="app has predict"):
        access.admit("admin", key="one", origin=REMOTE)


def test_a_labeller_may_predict_and_label_and_nothing_else() -> None:
    access = Access(KEYS, allow_anonymous=False)
    assert access.admit("label", key="three", origin=REMOTE) == Caller("anna", "label")
    assert access.admit("predict", key="three", origin=REMOTE).name == "anna"
    assert access.admit("label", key="two", origin=REMOTE).name == "ops"
    for needed, key in (("admin", "three"), ("label", "one")):
        with pytest.raises(Forbidden):
            access.admit(needed, key=key, origin=REMOTE)  # type: ignore[arg-type] # a literal


def test_an_unknown_key_is_refused_even_where_anonymous_clients_are_answered() -> None:
    with pytest.raises(Unauthorized):
        Access(KEYS, allow_anonymous=True).admit("predict", key="wrong", origin=REMOTE)


@pytest.mark.parametrize("key", ["", "ключ", "\x00", "a" * 10_000])
def test_a_strange_key_is_only_unknown(key: str) -> None:
    with pytest.raises(Unauthorized):
        Access(KEYS, allow_anonymous=False).admit("predict", key=key, origin=REMOTE)


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/livez", "open"),
        ("GET", "/readyz", "open"),
        ("GET", "/docs", "open"),
        ("GET", "/", "open"),
        ("GET", "/about", "open"),
        ("GET", "/page/0123456789abcdef/app.js", "open"),
        ("GET", "/page", "predict"),
        ("DELETE", "/page/", "open"),
        ("POST", "/detect", "predict"),
        ("GET", "/metrics", "predict"),
        ("DELETE", "/predictions/1", "admin"),
        ("GET", "/labels/next", "label"),
        ("GET", "/labels/1/picture", "label"),
        ("DELETE", "/labels/1/mine", "label"),
        ("GET", "/labels/1", "predict"),
        ("DELETE", "/labels", "admin"),
        ("GET", "/livez/", "predict"),
        ("POST", "/livez", "open"),
        ("DELETE", "/model", "admin"),
        ("DELETE", "/anything", "admin"),
        ("GET", "/anything", "predict"),
    ],
)
def test_each_path_needs_its_scope(method: str, path: str, scope: str) -> None:
    assert RouteTable(ROUTES).find({"path": path}, method).scope == scope


def test_an_entry_is_what_the_settings_take() -> None:
    assert Settings(api_keys=KEYS).api_keys == KEYS
