from __future__ import annotations

import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from serving.errors.operation import RowsRefused, StoreTooNew
from serving.errors.requests import ObservationUnknown
from serving.observations.images import PictureFolder
from serving.observations.records import Feedback
from serving.observations.schema import SCHEMA_VERSION
from serving.observations.store import Batch, Store
from tests.support.observing import MODEL, NOW, SWITCH, id_of, observation
from tests.support.pictures import encoded, textured


def feedback(number: int, emotion: str, *, at: float = 0) -> Feedback:
    return Feedback(observation_id=id_of(number), time=NOW + at, emotion=emotion)


def execute(store: Store, url: str, statement: str) -> None:
    store.close()
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


def test_an_answer_is_read_as_it_was_written_with_feedback_and_model(store: Store) -> None:
    seen = observation(1)
    whole = observation(2, box=None, faces=0, picture="2027-01-15/x.jpg", model_version="4")
    store.write(Batch(observations=[seen, whole], models=[MODEL], feedback=[feedback(1, "sad")]))
    found = store.observation(seen.id)
    assert (found.observation, found.feedback, found.model) == (seen, "sad", MODEL)
    found = store.observation(whole.id)
    assert (found.observation, found.feedback, found.model) == (whole, None, None)


def test_writing_again_changes_nothing(store: Store) -> None:
    """A connection may break between the commit and its confirmation; the batch is then written again."""
    batch = Batch(observations=[observation(1)], models=[MODEL])
    store.write(batch)
    store.write(batch)
    store.write(Batch(observations=[observation(1, width=1), observation(2)]))
    assert [row.observation for row in store.window("3").rows] == [observation(1), observation(2)]


def test_the_last_feedback_counts(store: Store) -> None:
    store.write(Batch(observations=[observation(1)]))
    for emotion in ("sad", "happy"):
        store.feedback(feedback(1, emotion))
    assert store.observation(id_of(1)).feedback == "happy"
    assert [row.feedback for row in store.window("3").rows] == ["happy"]


@pytest.mark.parametrize("id", ["0" * 32, "", "x\0y", "ä", "a' OR 'a'='a", "7" * 5000])
def test_unknown_ids_are_said_to_be_unknown(store: Store, id: str) -> None:
    with pytest.raises(ObservationUnknown):
        store.observation(id)
    with pytest.raises(ObservationUnknown):
        store.feedback(Feedback(observation_id=id, time=NOW, emotion="sad"))
    with pytest.raises(ObservationUnknown):
        store.delete(id)


def test_history_is_newest_first(store: Store) -> None:
    later = replace(SWITCH, time=NOW + 9, from_version="3", to_version=None, to_sha256=None, reason="gone")
    store.write(Batch(switches=[SWITCH]))
    store.write(Batch(switches=[later]))
    assert store.switches() == [later, SWITCH]
    assert store.switches(limit=1) == [later]


def test_a_deleted_answer_leaves_nothing(url: str, tmp_path: Path) -> None:
    pictures = PictureFolder(tmp_path / "pictures", fraction=1)
    store = Store(url, pictures=pictures)
    name = pictures.write(encoded(textured(1)), id=id_of(1), time=NOW)
    rows = [observation(1, picture=name), observation(2)]
    store.write(Batch(observations=rows, feedback=[feedback(1, "sad"), feedback(2, "happy")]))
    store.delete(id_of(1))
    with pytest.raises(ObservationUnknown):
        store.observation(id_of(1))
    assert not (tmp_path / "pictures" / name).exists()
    assert [row.feedback for row in store.window("3").rows] == ["happy"]
    # Nor does its feedback come back with a new row of that id.
    store.write(Batch(observations=[observation(1)]))
    assert store.observation(id_of(1)).feedback is None
    store.close()


def test_sqlite_overwrites_what_is_deleted(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'o.db'}")
    store.write(Batch(observations=[observation(1, predicted="a-very-private-emotion"), observation(2)]))
    store.delete(id_of(1))
    store.close()
    # Closing the last connection moved the log into the file.
    assert b"a-very-private" not in (tmp_path / "o.db").read_bytes()
    assert not (tmp_path / "o.db-wal").exists()


def test_retention_deletes_in_batches_what_is_older(url: str, tmp_path: Path) -> None:
    pictures = PictureFolder(tmp_path / "pictures", fraction=1)
    store = Store(url, pictures=pictures)
    name = pictures.write(encoded(textured(1)), id=id_of(0), time=NOW)
    old = [observation(number) for number in range(1, 2500)]
    store.write(Batch(observations=[observation(0, picture=name), *old, observation(2500)]))
    store.write(Batch(feedback=[feedback(7, "sad", at=3000), feedback(2500, "sad", at=3000)]))
    store.write(Batch(feedback=[feedback(9999, "orphan", at=5)]))
    assert store.purge_batch(NOW + 2500) == 1000
    assert store.purge(NOW + 2500) == 1500
    assert store.purge(NOW + 2500) == 0
    assert [row.observation.id for row in store.window("3").rows] == [id_of(2500)]
    assert store.observation(id_of(2500)).feedback == "sad"
    assert not (tmp_path / "pictures" / name).exists()
    store.write(Batch(observations=[observation(7, time=NOW + 4000), observation(9999)]))
    assert {row.feedback for row in store.window("3").rows} == {"sad", None}
    assert store.observation(id_of(7)).feedback is store.observation(id_of(9999)).feedback is None
    store.close()


def test_newer_tables_are_refused_in_one_line(store: Store, url: str) -> None:
    store.prepare()
    execute(store, url, "UPDATE schema_version SET version = 999")
    with pytest.raises(StoreTooNew) as refused:
        store.prepare()
    assert (refused.value.found, refused.value.known) == (999, SCHEMA_VERSION)
    assert "\n" not in str(refused.value)


def test_a_value_that_does_not_fit_refuses_its_batch_whole(url: str, store: Store) -> None:
    bad = observation(2, brightness=None)
    with pytest.raises(RowsRefused):
        store.write(Batch(observations=[observation(1), bad]))
    assert store.window("3").rows == ()


def _write_many(url: str, worker: int) -> None:
    store = Store(url)
    for number in range(20):
        store.write(Batch(observations=[observation(1000 * worker + number * 10 + n) for n in range(10)]))
    store.close()


def test_several_processes_create_and_write_at_once(url: str) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_write_many, args=(url, number)) for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    store = Store(url)
    assert store.window("3").total == 600
    store.close()
