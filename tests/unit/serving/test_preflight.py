"""What the service looks at before it starts."""

from __future__ import annotations

import errno
import os
import socket
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from serving import preflight
from serving.errors import ServingError
from serving.errors.operation import LocationInvalid, StartRefused, StoreTooNew, StoreUrlInvalid
from serving.observations import database
from serving.observations.store import Store
from serving.preflight import EXIT_STATUS, access_warning, address, check, exit_on_error, read_settings
from serving.settings import Settings


def settings_in(folder: Path, **given: Any) -> Settings:
    defaults: dict[str, Any] = {
        "model": str(folder / "model"),
        "cache_dir": folder / "cache",
        "database_url": f"sqlite:///{folder}/observations.db",
    }
    return Settings(**(defaults | given))


def test_what_may_be_repaired_later_does_not_end_the_start(tmp_path: Path) -> None:
    check(settings_in(tmp_path))
    check(settings_in(tmp_path, database_url="postgresql://user@127.0.0.1:1/nothing"))


# setting, value ({} is the test's folder), error, beginning of its message
REFUSED = {
    "model": ("model", "runs:/1/model", LocationInvalid, "MIEN_MODEL='runs:/1/model': "),
    "stage": ("model", "models:/emotion/Live", LocationInvalid, "MIEN_MODEL='models:/emotion/Live': "),
    "shadow": ("shadow_model", "runs:/1", LocationInvalid, "MIEN_SHADOW_MODEL='runs:/1': "),
    "cache": ("cache_dir", "{}/file/cache", StartRefused, "MIEN_CACHE_DIR={}/file/cache: "),
    "scheme": ("database_url", "mysql://me:secret@x/y", StoreUrlInvalid, "MIEN_DATABASE_URL: 'mysql'"),
    "no url": ("database_url", "x.db", StoreUrlInvalid, "MIEN_DATABASE_URL: it is not a URL"),
    "through a file": ("database_url", "sqlite:///{}/file/x.db", StartRefused, "MIEN_DATABASE_URL: "),
    "a folder": ("database_url", "sqlite:///{}", StartRefused, "MIEN_DATABASE_URL: sqlite:///{}: "),
    "no database": ("database_url", "sqlite:///{}/file", StartRefused, "MIEN_DATABASE_URL: "),
    "newer": ("database_url", "sqlite:///{}/newer.db", StoreTooNew, "sqlite:///{}/newer.db: its tables"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_never_will_is_refused(tmp_path: Path, case: tuple[str, str, type[ServingError], str]) -> None:
    name, value, kind, beginning = case
    (tmp_path / "file").write_text("no folder, and no database either")
    newer(tmp_path / "newer.db")
    with pytest.raises(kind) as caught:
        check(settings_in(tmp_path, **{name: value.replace("{}", str(tmp_path))}))
    assert str(caught.value).startswith(beginning.replace("{}", str(tmp_path)))
    assert "secret" not in str(caught.value)


def newer(path: Path) -> None:
    """A database whose tables a later service has changed."""
    store = Store(f"sqlite:///{path}")
    store.prepare()
    store.close()
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("UPDATE schema_version SET version = version + 1")


def test_a_database_that_is_locked_is_waited_for_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_WAIT_S", 0.1)
    path = tmp_path / "observations.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        check(settings_in(tmp_path))


def test_a_full_disk_does_not_end_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "mkdir", full)
    check(settings_in(tmp_path))


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("MIEN_PORT", "high", "MIEN_PORT='high': "),
        ("MIEN_KEEP_IMAGES", "1.5", "MIEN_KEEP_IMAGES='1.5': "),
        ("MIEN_FACE_DETECTOR", "best", "MIEN_FACE_DETECTOR='best': "),
        ("MIEN_API_KEYS", "secret", "MIEN_API_KEYS: an entry is not NAME:SCOPE:SHA256"),
    ],
)
def test_a_setting_is_named_with_what_it_got(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, shown: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(StartRefused) as caught:
        read_settings()
    assert str(caught.value).startswith(shown)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_each_wrong_setting_has_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_PORT", "high")
    monkeypatch.setenv("MIEN_POLL_S", "0")
    with pytest.raises(StartRefused) as caught:
        read_settings()
    assert [line.partition("=")[0] for line in str(caught.value).splitlines()] == ["MIEN_PORT", "MIEN_POLL_S"]


def test_the_reason_is_the_only_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, exit_on_error():
        raise StartRefused("got this, expected that")
    assert ended.value.code == EXIT_STATUS
    assert capsys.readouterr().err == "got this, expected that\n"


def test_an_address_that_cannot_be_listened_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "_TAKEN_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            StartRefused, match=f"MIEN_HOST=127.0.0.1 MIEN_PORT={port}: address already in use"
        ):
            preflight.bind("127.0.0.1", port)
    with pytest.raises(StartRefused, match=r"MIEN_HOST='nowhere\.invalid': "):
        preflight.bind("nowhere.invalid", 0)


def test_a_port_that_is_about_to_be_free_is_waited_for() -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    timer = threading.Timer(0.3, taken.close)
    timer.start()
    (bound,) = preflight.bind("127.0.0.1", port)
    with bound:
        assert bound.getsockname() == ("127.0.0.1", port)
    timer.join()


EVERYWHERE = "0.0.0.0"  # noqa: S104 - nothing listens there


@pytest.mark.parametrize(
    ("host", "shown"),
    [("127.0.0.1", "127.0.0.1"), (EVERYWHERE, "127.0.0.1"), ("localhost", "localhost"), ("::", "[::1]")],
)
def test_the_address_to_open_has_the_port_that_was_taken(host: str, shown: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert address(host, [listening]) == f"http://{shown}:{listening.getsockname()[1]}"


@pytest.mark.parametrize(
    ("given", "warns"),
    [
        ({"host": "127.0.0.1"}, False),
        ({"host": "localhost"}, False),
        ({"host": EVERYWHERE}, True),
        ({"host": "mien.example"}, True),
        ({"host": EVERYWHERE, "allow_anonymous": True}, False),
        ({"host": EVERYWHERE, "api_keys": (f"app:predict:{'0' * 64}",)}, False),
    ],
)
def test_an_address_for_others_without_a_key_for_them_is_warned_of(
    tmp_path: Path, given: dict[str, object], warns: bool
) -> None:
    warning = access_warning(settings_in(tmp_path, **given))
    assert (warning is not None) is warns
    assert warning is None or "403" in warning
