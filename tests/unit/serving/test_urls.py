"""URLs show themselves without their secrets."""

from __future__ import annotations

import copy

import pytest

from serving.settings import Settings
from serving.urls import SecretUrl, mask_paths, mask_urls

SECRETS = [
    ("https://me:s3cret@mlflow.example:5000/x", "https://***@mlflow.example:5000/x"),
    ("https://s3cret@mlflow.example", "https://***@mlflow.example"),
    ("HTTP://me:s3cret@host/a@b", "HTTP://***@host/a@b"),
    # What cannot be used shows up in the message that says so.
    ("http://me:s3/cret@host/x", "http://***@host/x"),
    ("http://me:s3@cret@host/x", "http://***@host/x"),
    ("postgresql://host/db?user=me&password=s3cret", "postgresql://host/db?user=me&password=***"),
    ("https://hook.example/?token=s3cret&x=1", "https://hook.example/?token=***&x=1"),
    ("failed: https://me:s3cret@h/api (https://b:s3cret@p)", "failed: https://***@h/api (https://***@p)"),
]
PLAIN = [
    "sqlite:////data/a@b.db",
    "http://mlflow:5000/#/models/emotion@production",
    "http://[::1]:5000/a@b",
    "models:/emotion@production",
    "postgresql+psycopg://mien:***@db/mien",
    "a@b.example",
]


@pytest.mark.parametrize(("text", "shown"), SECRETS)
def test_a_secret_is_masked_wherever_the_url_is_shown(text: str, shown: str) -> None:
    url = SecretUrl(text)
    assert mask_urls(text) == f"{url}" == str(url) == shown
    for said in (repr(url), repr([url]), f"{[url]} {url!r}", f"{url!s:>80}"):
        assert "s3" not in said
    assert url.reveal() == text
    assert copy.deepcopy(url) == url


@pytest.mark.parametrize("text", PLAIN)
def test_what_holds_no_secret_stays_as_it_is(text: str) -> None:
    assert mask_urls(text) == str(SecretUrl(text)) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "403 for url 'https://hooks.example/services/T0/s3cret'\nmore",
            "403 for url 'https://hooks.example/***'\nmore",
        ),
        ("https://me:s3cret@hooks.example:8443/s3cret?key=s3cret#s3cret,", "https://hooks.example:8443/***"),
        ("http://[::1]:80/s3cret", "http://[::1]:80/***"),
        ("https://hooks.example?s3cret=1", "https://hooks.example/***"),
        # Not a host but the first of several tokens.
        ("slack://s3cret/s3cret/s3cret failed", "slack://*** failed"),
        ("mailtos://me:s3cret@example.org", "mailtos://***"),
        (
            "see https://hooks.example or https://hooks.example/",
            "see https://hooks.example or https://hooks.example/",
        ),
        ("no address: timed out after 5 s", "no address: timed out after 5 s"),
    ],
)
def test_addresses_whose_path_is_a_secret_show_their_host(text: str, shown: str) -> None:
    assert mask_paths(text) == shown


def test_a_link_has_neither_user_nor_query() -> None:
    assert SecretUrl("https://me:s3cret@h:5/x/?token=1").public == "https://h:5/x"


def test_settings_do_not_show_them() -> None:
    settings = Settings(tracking_uri="http://me:s3cret@h", database_url="postgresql://me:s3cret@h/d")
    assert settings.tracking_uri.reveal() == "http://me:s3cret@h"
    assert "s3cret" not in f"{settings} {settings!r} {settings.model_dump_json()}"
