"""Databases that earlier services left are brought up to date; others are refused."""

from __future__ import annotations

import pytest
from sqlalchemy import inspect

from serving.errors.operation import StoreIncomplete, StoreTooNew
from serving.observations.records import Feedback
from serving.observations.store import Batch, Store
from tests.support.observing import (
    INSERT_SWITCH,
    NOW,
    SWITCH,
    SWITCHES,
    engine_of,
    execute,
    id_of,
    observation,
    write_earlier_database,
)


@pytest.fixture(params=[1, 2, 7])
def earlier(url: str, request: pytest.FixtureRequest) -> str:
    """URL of a database as a service of this version left it, with one answer and some switches."""
    write_earlier_database(url, version=request.param)
    return url


def layout(url: str) -> dict[str, object]:
    """Every table with its columns and indexes."""
    engine = engine_of(url)
    found = inspect(engine)
    tables = {
        table: (
            {(one["name"], str(one["type"]), one["nullable"]) for one in found.get_columns(table)},
            sorted((str(one["name"]), one["column_names"]) for one in found.get_indexes(table)),
            found.get_pk_constraint(table)["constrained_columns"],
        )
        for table in found.get_table_names()
    }
    engine.dispose()
    return dict(tables)


def test_an_earlier_database_becomes_as_a_new_one_and_keeps_its_rows(
    earlier: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = Store(earlier)
    store.write(
        Batch(
            observations=[observation(2)],
            switches=[SWITCH],
            feedback=[Feedback(observation_id=id_of(1), time=NOW + 5, emotion="sad")],
        )
    )
    old = store.observation(id_of(1))
    assert (old.observation.predicted, old.observation.confidence, old.feedback) == ("happy", 0.75, "sad")
    assert old.observation.novelty is None
    assert store.observation(id_of(2)).observation == observation(2)
    assert [row.observation.id for row in store.window("3").rows] == [id_of(1), id_of(2)]
    newest, *others = store.switches()
    assert {(switch.promoted_by, switch.signature, switch.signed_by) for switch in others} == {(None,) * 3}
    assert newest == SWITCH
    assert {switch.reason: switch.kind for switch in others} == SWITCHES
    store.close()

    if earlier.startswith("sqlite"):
        new = f"sqlite:///{tmp_path_factory.mktemp('new') / 'observations.db'}"
    else:
        new = request.getfixturevalue("postgres").new_database()
    fresh = Store(new)
    fresh.prepare()
    fresh.close()
    assert layout(earlier) == layout(new)


def test_feedback_of_version_7_is_on_the_largest_face(url: str) -> None:
    write_earlier_database(url, version=7)
    insert = "INSERT INTO feedback (observation_id, time, emotion) VALUES (:id, :time, :emotion)"
    for emotion in ("happy", "sad"):
        execute(url, insert, id=id_of(1), time=NOW, emotion=emotion)
    store = Store(url)
    assert store.observation(id_of(1)).true_emotions == {0: "sad"}
    assert store.observation(id_of(1)).observation.other_faces == ()
    # As a service of version 7 that still runs.
    execute(url, insert, id=id_of(1), time=NOW, emotion="angry")
    store.feedback(Feedback(observation_id=id_of(1), face=0, time=NOW, emotion="happy"))
    assert store.observation(id_of(1)).true_emotions == {0: "happy"}
    store.close()


def test_a_database_that_only_bears_the_number_is_refused(earlier: str) -> None:
    store = Store(earlier)
    store.prepare()
    store.close()
    execute(earlier, "ALTER TABLE drift_results DROP COLUMN report")
    with pytest.raises(StoreIncomplete) as refused:
        store.prepare()
    assert refused.value.missing == ("drift_results.report",)
    store.close()


def test_a_service_of_the_version_before_may_still_write_while_the_first_new_one_starts(earlier: str) -> None:
    store = Store(earlier)
    store.prepare()
    execute(earlier, INSERT_SWITCH, time=NOW, reason="models:/emotion@production names version 3")
    assert store.switches(1)[0].kind == "live"
    store.close()


@pytest.mark.parametrize("version", [0, 999])
def test_a_version_that_is_not_known_is_refused(earlier: str, version: int) -> None:
    before = layout(earlier)
    execute(earlier, "UPDATE schema_version SET version = :version", version=version)
    store = Store(earlier)
    with pytest.raises(StoreTooNew) as refused:
        store.prepare()
    assert refused.value.found == version
    store.close()
    # Nothing was changed in it.
    assert layout(earlier) == before
