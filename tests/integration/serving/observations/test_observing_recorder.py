from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from serving.errors.operation import StoreUnavailable
from serving.errors.requests import ObservationUnknown
from serving.observations.images import PictureFolder
from serving.observations.recorder import Recorder
from serving.observations.store import Batch, Store
from tests.support.files import files_of_at_most
from tests.support.observing import MODEL, NOW, SWITCH, fresh_id, id_of, observation
from tests.support.pictures import encoded, textured
from tests.support.postgres import PostgresServer, running_postgres

# Long enough for a test to act before anything is written.
SLOW_S = 30.0


@contextmanager
def recording(store: Store, **options: Any) -> Iterator[Recorder]:
    recorder = Recorder(store, **options)
    recorder.start()
    try:
        yield recorder
    finally:
        recorder.close()


def wait_for(condition: Callable[[], bool], *, timeout_s: float = 10.0) -> None:
    give_up_at = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


def test_rows_reach_the_database_within_a_second(store: Store) -> None:
    store.prepare()
    with recording(store) as recorder:
        recorder.remember(MODEL)
        recorder.record(observation(1))
        recorder.record_switch(SWITCH)
        wait_for(lambda: recorder.stats().written == 1, timeout_s=1.0)
    assert store.observation(id_of(1)).model == MODEL
    assert store.switches() == [SWITCH]


def test_a_full_batch_is_written_at_once(store: Store) -> None:
    with recording(store, flush_s=SLOW_S, batch_rows=10) as recorder:
        for number in range(10):
            recorder.record(observation(number))
        wait_for(lambda: recorder.stats().written == 10)


def test_closing_writes_everything(store: Store) -> None:
    with recording(store, flush_s=SLOW_S, batch_rows=300, capacity=5000) as recorder:
        for number in range(2000):
            recorder.record(observation(number))
    assert store.window("3").total == 2000
    stats = recorder.stats()
    assert (stats.written, stats.waiting, stats.dropped, stats.failure) == (2000, 0, 0, None)


def test_a_bad_row_is_left_out_alone(store: Store) -> None:
    with recording(store, flush_s=SLOW_S) as recorder:
        for row in (observation(1), observation(2, brightness=None), observation(3, embedding=7)):
            recorder.record(row)
        recorder.record(observation(4))
        recorder.record_switch(SWITCH)
    assert {row.observation.id for row in store.window("3").rows} == {id_of(1), id_of(4)}
    assert store.switches() == [SWITCH]
    assert (recorder.stats().written, recorder.stats().dropped) == (2, 2)


def test_answers_are_found_before_and_after_they_are_written(store: Store) -> None:
    async def waiting(recorder: Recorder) -> None:
        recorder.remember(MODEL)
        recorder.record(observation(1))
        await recorder.feedback(id_of(1), "sad")
        found = await recorder.observation(id_of(1))
        assert (found.observation, found.feedback, found.model) == (observation(1), "sad", MODEL)
        recorder.record(observation(2))
        await recorder.delete(id_of(2))
        with pytest.raises(ObservationUnknown):
            await recorder.observation(id_of(2))

    async def stored(recorder: Recorder) -> None:
        found = await recorder.observation(id_of(1))
        assert (found.observation, found.feedback, found.model) == (observation(1), "sad", MODEL)
        await recorder.feedback(id_of(1), "happy")
        assert (await recorder.observation(id_of(1))).feedback == "happy"
        await recorder.delete(id_of(1))

    with recording(store, flush_s=SLOW_S) as recorder:
        asyncio.run(waiting(recorder))
    with recording(store) as recorder:
        asyncio.run(stored(recorder))
    assert store.window("3").rows == ()


def test_what_another_worker_has_not_written_yet_is_waited_for(store: Store, url: str) -> None:
    store.prepare()
    other = Store(url)
    with recording(store) as recorder, recording(other) as here:
        ids = [fresh_id(number) for number in range(3)]
        for id in ids:
            recorder.record(observation(id=id))
        asyncio.run(here.feedback(ids[0], "sad"))
        assert asyncio.run(here.observation(ids[1])).observation.id == ids[1]
        asyncio.run(here.delete(ids[2]))
    assert store.observation(ids[0]).feedback == "sad"
    with pytest.raises(ObservationUnknown):
        store.observation(ids[2])
    other.close()


def test_unknown_ids_are_reported_soon(store: Store) -> None:
    store.prepare()
    # A young id is looked for again during two of these; none of the others is.
    with recording(store, flush_s=60.0) as recorder:
        started = time.monotonic()
        for id in (id_of(1), "nonsense", "f" * 32):
            with pytest.raises(ObservationUnknown):
                asyncio.run(recorder.feedback(id, "sad"))
        assert time.monotonic() - started < 60
    with recording(store) as recorder, pytest.raises(ObservationUnknown):
        asyncio.run(recorder.feedback(fresh_id(), "sad"))


def test_a_database_that_comes_late_and_goes_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    with running_postgres() as server:
        store = Store(server.new_database())
        server.stop()
        with recording(store, flush_s=0.05) as recorder:
            recorder.record(observation(1))
            wait_for(lambda: recorder.stats().failure is not None)
            with pytest.raises(StoreUnavailable):
                asyncio.run(recorder.observation(id_of(9)))
            # Still known here, though the database is unreachable.
            asyncio.run(recorder.feedback(id_of(1), "sad"))
            server.start()
            wait_for(lambda: recorder.stats().written == 1)
            restart_while_recording(server, recorder)
        assert store.window("3").total == 101
        assert store.observation(id_of(1)).feedback == "sad"
        assert recorder.stats().dropped == 0
        store.close()
    lines = [record.getMessage() for record in caplog.records]
    # One for each outage and one for each return, however often it was tried.
    assert ["written again" in line for line in lines] == [False, True, False, True]


def restart_while_recording(server: PostgresServer, recorder: Recorder) -> None:
    server.stop()
    for number in range(100, 200):
        recorder.record(observation(number))
    # Each call returned without a database that could write its row.
    assert recorder.stats().written == 1
    wait_for(lambda: recorder.stats().failure is not None)
    server.start()
    wait_for(lambda: recorder.stats().written == 101)


def test_the_oldest_are_lost_and_counted_when_a_database_stays_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    store = Store(f"sqlite:///{tmp_path / 'file' / 'observations.db'}")
    recorder = Recorder(store, flush_s=0.02, batch_rows=10, capacity=50)
    recorder.start()
    recorder.record(observation(0))
    wait_for(lambda: recorder.stats().failure is not None)
    for number in range(1, 101):
        recorder.record(observation(number))
    assert (recorder.stats().waiting, recorder.stats().dropped) == (50, 51)
    started = time.monotonic()
    recorder.close(timeout_s=0.3)
    assert time.monotonic() - started < 30
    assert (recorder.stats().waiting, recorder.stats().dropped) == (0, 101)
    assert "50 observations, feedback and switches are lost" in caplog.text


def test_a_row_that_is_being_written_is_not_said_to_be_deleted(tmp_path: Path) -> None:
    in_the_way = tmp_path / "folder"
    in_the_way.touch()
    store = Store(f"sqlite:///{in_the_way / 'observations.db'}")
    with recording(store, flush_s=0.02) as recorder:
        recorder.record(observation(1))
        wait_for(lambda: recorder.stats().failure is not None)
        with pytest.raises(StoreUnavailable):
            asyncio.run(recorder.delete(id_of(1)))
        in_the_way.unlink()
        wait_for(lambda: recorder.stats().written == 1)
        asyncio.run(recorder.delete(id_of(1)))
    assert store.window("3").rows == ()
    store.close()


def test_rows_wait_while_the_disk_is_full(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'observations.db'}")
    pictures = PictureFolder(tmp_path / "pictures", fraction=1)
    store.prepare()
    with recording(store, flush_s=0.05, pictures=pictures) as recorder:
        with files_of_at_most(1024):
            for number in range(200):
                recorder.record(observation(number), picture=encoded(textured(1), "BMP"))
            wait_for(lambda: recorder.stats().failure is not None)
        wait_for(lambda: recorder.stats().written == 200)
    stats = recorder.stats()
    assert stats.dropped == 0
    # Pictures are not retried: those that came up for writing before there was room are lost and counted.
    assert stats.dropped_pictures > 0
    rows = store.window("3").rows
    assert len(rows) == 200
    assert sum(row.observation.picture is not None for row in rows) == stats.kept_pictures
    assert stats.kept_pictures + stats.dropped_pictures == 200
    store.close()


def test_recording_goes_on_in_a_new_file_when_the_old_one_is_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "data" / "observations.db"
    store = Store(f"sqlite:///{path}")
    with recording(store, flush_s=0.05) as recorder:
        recorder.remember(MODEL)
        recorder.record(observation(1))
        wait_for(lambda: recorder.stats().written == 1)
        path.parent.rename(tmp_path / "away")
        recorder.record(observation(2))
        wait_for(lambda: recorder.stats().written == 2)
    assert store.observation(id_of(2)).model == MODEL
    assert store.window("3").total == 1
    store.close()


def test_chosen_pictures_are_kept_and_named_in_their_rows(store: Store, tmp_path: Path) -> None:
    pictures = PictureFolder(tmp_path / "pictures", fraction=0.5)
    data = encoded(textured(1))
    with recording(store, pictures=pictures) as recorder:
        for number in range(20):
            recorder.record(observation(number), picture=data)
    rows = [row.observation for row in store.window("3").rows]
    assert {row.id for row in rows if row.picture} == {row.id for row in rows if pictures.keeps(row.id)}
    assert all(pictures.read(row.picture) == data for row in rows if row.picture)
    assert 0 < recorder.stats().kept_pictures == len(list((tmp_path / "pictures").glob("*/*.png"))) < 20


def test_without_the_opt_in_no_picture_is_written(store: Store, tmp_path: Path) -> None:
    with recording(store, pictures=PictureFolder(tmp_path / "pictures", fraction=0)) as recorder:
        recorder.record(observation(1), picture=encoded(textured(1)))
    assert store.observation(id_of(1)).observation.picture is None
    assert not (tmp_path / "pictures").exists()


def test_what_is_too_old_is_deleted_while_recording(url: str, tmp_path: Path) -> None:
    pictures = PictureFolder(tmp_path / "pictures", fraction=1)
    name = pictures.write(encoded(textured(1)), id="old", time=NOW - 3e8)
    store = Store(url, pictures=pictures)
    now = time.time()
    old = [observation(number, time=now - 100) for number in range(1500)]
    store.write(Batch(observations=[*old, observation(1500, time=now)]))
    with recording(store, flush_s=0.05, retention_s=50, pictures=pictures, pictures_retention_s=50):
        wait_for(lambda: store.window("3").total == 1)
    assert not (tmp_path / "pictures" / name).exists()
    store.close()
