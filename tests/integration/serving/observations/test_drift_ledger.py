"""Drift results in both databases: what replicas see of each other, and who computes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import create_engine, text

from serving.drift.result import DriftResult
from serving.drift.store import DriftStore, ModelKey
from serving.observations.store import Batch, Store
from tests.support.observing import MODEL, NOW, id_of, observation

OURS = ModelKey(version=MODEL.version, sha256=MODEL.sha256)
DAY_S = 86_400.0


def result(number: int, *, verdict: bool = True, model: ModelKey = OURS) -> DriftResult:
    if not verdict:
        return DriftResult(
            verdict="unknown",
            reason=f"reason {number}",
            problem="WindowTooSmall",
            time=NOW + number,
            model_version=model.version,
            model_sha256=model.sha256,
        )
    return DriftResult(
        verdict="drift",
        reason=f"reason {number}",
        time=NOW + number,
        model_version=model.version,
        model_sha256=model.sha256,
    )


@pytest.fixture
def ledger(url: str) -> Iterator[DriftStore]:
    ledger = DriftStore(url)
    yield ledger
    ledger.close()


@pytest.fixture
def replica(url: str) -> Iterator[DriftStore]:
    ledger = DriftStore(url)
    yield ledger
    ledger.close()


def test_replicas_see_the_newest_result_of_a_model(ledger: DriftStore, replica: DriftStore) -> None:
    assert replica.newest(OURS) is None
    for number in range(3):
        ledger.keep(result(number), retention_s=DAY_S)
    ledger.keep(result(9, model=ModelKey(version="4", sha256="cd")), retention_s=DAY_S)
    assert replica.newest(OURS) == result(2)
    assert replica.recent(OURS, 2) == [result(2), result(1)]


def test_the_newest_verdict_is_found_behind_failures(ledger: DriftStore) -> None:
    ledger.keep(result(1), retention_s=DAY_S)
    ledger.keep(result(2, verdict=False), retention_s=DAY_S)
    assert ledger.newest(OURS) == result(2, verdict=False)
    assert ledger.newest(OURS, verdict=True) == result(1)


def test_only_the_newest_page_of_a_model_is_kept(ledger: DriftStore, url: str) -> None:
    other = ModelKey(version="4", sha256="cd")
    assert ledger.report(OURS) is None
    ledger.keep(result(1), html=b"<p>first", retention_s=DAY_S)
    ledger.keep(result(2, model=other), html="<p>ändere".encode(), retention_s=DAY_S)
    ledger.keep(result(3), html=b"<p>second", retention_s=DAY_S)
    ledger.keep(result(4, verdict=False), retention_s=DAY_S)
    assert ledger.report(OURS) == b"<p>second"
    assert ledger.report(other) == "<p>ändere".encode()
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        pages = connection.scalar(text("SELECT count(report) FROM drift_results"))
    engine.dispose()
    assert pages == 2


def test_results_are_deleted_after_their_retention(ledger: DriftStore) -> None:
    for number in (0, 50, 100):
        ledger.keep(result(number), retention_s=60.0)
    assert [round(one.time - NOW) for one in ledger.recent(OURS, 9)] == [100, 50]


def test_one_replica_at_a_time_has_the_lease(ledger: DriftStore, replica: DriftStore) -> None:
    assert ledger.acquire(now=NOW, lasts_s=60)
    assert not replica.acquire(now=NOW + 59, lasts_s=60)
    assert not ledger.acquire(now=NOW + 59, lasts_s=60)
    replica.release()  # not its own
    assert not replica.acquire(now=NOW + 59, lasts_s=60)
    ledger.release()
    assert replica.acquire(now=NOW + 59, lasts_s=60)


def test_every_replica_knows_since_when_the_lease_is_held(ledger: DriftStore, replica: DriftStore) -> None:
    assert replica.leased_since(now=NOW, lasts_s=60) is None
    assert ledger.acquire(now=NOW, lasts_s=60)
    assert replica.leased_since(now=NOW + 59, lasts_s=60) == NOW
    assert replica.leased_since(now=NOW + 61, lasts_s=60) is None  # its holder is gone
    assert replica.leased_since(now=NOW - YEAR_S, lasts_s=60) is None  # dated by a clock that was ahead
    ledger.release()
    assert replica.leased_since(now=NOW + 1, lasts_s=60) is None


def test_the_lease_of_a_dead_replica_ends(ledger: DriftStore, replica: DriftStore) -> None:
    assert ledger.acquire(now=NOW, lasts_s=60)
    assert replica.acquire(now=NOW + 61, lasts_s=60)


def test_of_many_that_ask_at_once_one_gets_the_lease(url: str) -> None:
    ledgers = [DriftStore(url) for _ in range(6)]
    ledgers[0].newest(OURS)  # the tables are there
    together = threading.Barrier(len(ledgers))

    def ask(ledger: DriftStore) -> bool:
        together.wait()
        return ledger.acquire(now=NOW, lasts_s=60)

    with ThreadPoolExecutor(len(ledgers)) as pool:
        assert sum(pool.map(ask, ledgers)) == 1
    for ledger in ledgers:
        ledger.close()


def test_observations_are_counted_no_further_than_asked(ledger: DriftStore, store: Store) -> None:
    assert ledger.newest_observation(OURS) is None
    rows = [observation(number) for number in range(30)]
    other = [observation(number, model_version="4") for number in range(30, 40)]
    store.write(Batch(observations=[*rows, *other]))
    assert ledger.newest_observation(OURS) == NOW + 29
    assert ledger.count(OURS, up_to=100) == 30
    assert ledger.count(OURS, up_to=7) == 7
    assert ledger.count(OURS, up_to=100, since=NOW + 25) == 5
    assert ledger.count(ModelKey(version="5", sha256=""), up_to=100) == 0


def test_a_database_of_the_release_before_gets_the_new_tables(url: str, store: Store) -> None:
    store.write(Batch(observations=[observation(1)]))
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE drift_results"))
        connection.execute(text("DROP TABLE drift_lease"))
        connection.execute(text("ALTER TABLE switches DROP COLUMN kind"))
        for column in ("promoted_by", "signature", "signed_by"):
            connection.execute(text(f"ALTER TABLE switches DROP COLUMN {column}"))
        connection.execute(text("ALTER TABLE observations DROP COLUMN novelty"))
        connection.execute(text("ALTER TABLE observations DROP COLUMN disagreement"))
        connection.execute(text("ALTER TABLE observations DROP COLUMN other_faces"))
        connection.execute(text("ALTER TABLE feedback DROP COLUMN face"))
        connection.execute(text("DROP TABLE labels"))
        connection.execute(text("UPDATE schema_version SET version = 1"))
    engine.dispose()
    ledger = DriftStore(url)
    ledger.keep(result(1), html=b"<p>", retention_s=DAY_S)
    assert ledger.newest(OURS) == result(1)
    assert ledger.acquire(now=NOW, lasts_s=1)
    ledger.close()
    # What the earlier release did not know is empty.
    assert store.observation(observation(1).id).observation == replace(observation(1), novelty=None)


YEAR_S = 365 * DAY_S


def test_what_a_clock_that_was_ahead_left_does_not_count(ledger: DriftStore, store: Store) -> None:
    ledger.keep(result(1), html=b"<p>right", retention_s=10 * YEAR_S)
    ledger.keep(replace(result(2), time=NOW + YEAR_S), retention_s=10 * YEAR_S)
    assert ledger.newest(OURS) == result(1)
    assert ledger.recent(OURS, 9) == [result(1)]
    later = [observation(number, time=NOW + YEAR_S + number) for number in range(3)]
    store.write(Batch(observations=[*later, observation(7)]))
    assert ledger.newest_observation(OURS) == NOW + 7
    assert ledger.count(OURS, up_to=10) == 1
    assert [row.observation.id for row in store.window(OURS.version, last_n=2).rows] == [id_of(7)]
    ahead = ledger.ahead(OURS)
    assert ahead is not None
    assert (ahead.observations, ahead.results) == (3, 1)
    assert ahead.ahead_s == pytest.approx(NOW + YEAR_S + 2 - time.time(), abs=60)
    assert ledger.ahead(ModelKey(version="4", sha256="cd")) is None


def test_a_lease_that_was_taken_by_a_clock_that_was_ahead_is_free(
    ledger: DriftStore, replica: DriftStore
) -> None:
    assert ledger.acquire(now=NOW + YEAR_S, lasts_s=360)
    assert replica.acquire(now=NOW, lasts_s=360)
    # By a clock that differs by seconds, as clocks do, it is not.
    assert not ledger.acquire(now=NOW - 30, lasts_s=360)
