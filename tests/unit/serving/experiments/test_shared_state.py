"""What the workers of one service agree on about the canary."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.experiments.shared_state import JOURNAL, CanaryJournal, Pause
from serving.inference.model_slot import ModelIdentity

PAUSE = Pause(until=200.0, reason="it is slow")


def identity(version: str) -> ModelIdentity:
    return ModelIdentity(name="emotion", version=version, sha256="a" * 64, source="models:/emotion@candidate")


def test_of_several_workers_one_tells_of_a_start_and_one_of_a_stop(tmp_path: Path) -> None:
    workers = [CanaryJournal(tmp_path) for _ in range(3)]
    assert [worker.start(identity("4"), 0.1) for worker in workers] == [True, False, False]
    assert [worker.stop() for worker in workers] == [identity("4"), None, None]


def test_another_candidate_or_another_share_is_another_start(tmp_path: Path) -> None:
    journal = CanaryJournal(tmp_path)
    assert journal.start(identity("4"), 0.1)
    assert journal.start(identity("5"), 0.1)
    assert journal.start(identity("5"), 0.2)
    assert not CanaryJournal(tmp_path).start(identity("5"), 0.2)


def test_a_pause_holds_for_all_workers_until_it_is_over(tmp_path: Path) -> None:
    one, other = CanaryJournal(tmp_path), CanaryJournal(tmp_path)
    one.start(identity("4"), 0.1)
    assert one.pause(identity("4"), PAUSE, now=100.0)
    assert not other.pause(identity("4"), Pause(until=250.0, reason="late"), now=101.0)
    assert other.paused(identity("4"), now=199.0) == PAUSE
    assert other.paused(identity("4"), now=200.0) is None
    assert other.paused(identity("5"), now=199.0) is None
    # It ran no more when it was stopped, and begins again.
    assert other.stop() is None
    assert other.start(identity("4"), 0.1)


def test_without_a_canary_nothing_is_written(tmp_path: Path) -> None:
    assert CanaryJournal(tmp_path).stop() is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "[]", '{"running": 1, "paused": 1}', '{"running": {"candidate": {}}}'])
def test_a_damaged_journal_is_an_empty_one(tmp_path: Path, text: str) -> None:
    (tmp_path / JOURNAL).write_text(text)
    journal = CanaryJournal(tmp_path)
    assert journal.paused(identity("4"), now=0.0) is None
    assert journal.stop() is None
    assert journal.start(identity("4"), 0.1)
