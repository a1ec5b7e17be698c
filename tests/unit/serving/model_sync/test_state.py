"""The state file between follower and workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.inference.model_slot import ModelIdentity
from serving.model_sync.poller import MAX_PAUSE_S, pause_s
from serving.model_sync.state import (
    GOOD,
    TARGET,
    RefusedDownload,
    Target,
    read_good,
    read_target,
    state_folder,
    target_stamp,
    write_good,
    write_target,
)


def identity(version: str) -> ModelIdentity:
    return ModelIdentity(
        name="emotion", version=version, sha256="a" * 64, source=f"models:/emotion/{version}"
    )


def test_is_read_back_as_written(tmp_path: Path) -> None:
    target = Target(
        checked_at=5.5, version="3", sha256="b" * 64, folder="models/3-b", stamp="x", since=4.0,
        problem="away", warnings=("one", "two"),
        refused=RefusedDownload(version="4", sha256="", reason="why", time=3.0),
    )  # fmt: skip
    write_target(tmp_path, target)
    assert read_target(tmp_path) == target
    assert [path.name for path in tmp_path.iterdir()] == [TARGET]


def test_every_write_is_seen(tmp_path: Path) -> None:
    stamps = {target_stamp(tmp_path)}
    for _ in range(5):
        write_target(tmp_path, Target(checked_at=1.0))
        stamps.add(target_stamp(tmp_path))
    assert len(stamps) == 6


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"version": "1"}', '{"checked_at": 1, "refused": {}}']
)
def test_a_damaged_file_is_not_a_target(tmp_path: Path, text: str) -> None:
    (tmp_path / TARGET).write_text(text)
    assert read_target(tmp_path) is None


def test_keys_of_a_later_release_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / TARGET).write_text('{"checked_at": 1.0, "color": "green"}')
    assert read_target(tmp_path) == Target(checked_at=1.0)


def test_of_two_workers_one_learns_that_the_model_is_new(tmp_path: Path) -> None:
    folder = tmp_path / "models/2-aa"
    assert write_good(tmp_path, folder, identity("2")) is None
    assert write_good(tmp_path, folder, identity("2")) == identity("2")
    assert write_good(tmp_path, tmp_path / "models/3-aa", identity("3")) == identity("2")
    assert read_good(tmp_path) == (tmp_path / "models/3-aa", identity("3"))


@pytest.mark.parametrize(
    "text", ["", "{}", '{"folder": "x", "identity": {}}', '{"folder": "x", "identity": 3}']
)
def test_a_damaged_note_of_the_good_model_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / GOOD).write_text(text)
    assert read_good(tmp_path) is None


def test_two_locations_never_share_a_folder(tmp_path: Path) -> None:
    folders = {
        state_folder(tmp_path, location, uri)
        for location in (
            "models:/emotion@production",
            "models:/emotion/production",
            "/data/emotion@production",
        )
        for uri in ("", "http://registry.example")
    }
    assert len(folders) == 6
    assert all(folder.parent == tmp_path for folder in folders)


def test_pauses_grow_while_the_registry_is_away_and_differ_between_replicas() -> None:
    at_rest = [pause_s(5.0, 0) for _ in range(200)]
    assert 3.5 <= min(at_rest) < 4.0 < 4.7 < max(at_rest) <= 5.0
    assert 14.0 <= pause_s(5.0, 2) <= 20.0


def test_a_source_that_was_away_is_asked_again_within_a_bounded_time() -> None:
    assert MAX_PAUSE_S == 30.0
    assert max(pause_s(5.0, failures) for failures in range(2000)) <= MAX_PAUSE_S
    # Who looks seldom anyway is not made to look more often.
    assert 84.0 <= pause_s(120.0, 3) <= 120.0
