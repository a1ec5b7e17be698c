"""Labels by people, in either database: who is offered what, what they agree on, and when labels go."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from serving.errors.requests import ObservationUnknown
from serving.observations.consensus import NOT_A_FACE, SKIP
from serving.observations.labels import (
    DisputedPicture,
    Label,
    LabelledPicture,
    LabelStore,
    LabelSummary,
)
from serving.observations.recorder import Recorder
from serving.observations.records import Feedback, Observation
from serving.observations.store import Batch, Store
from tests.support.observing import CLASSES, MODEL, NOW, id_of, observation


@pytest.fixture
def labels(url: str) -> Iterator[LabelStore]:
    store = LabelStore(url, needed=2)
    yield store
    store.close()


def kept(number: int, *, degrees: float, entropy: float = 0.5, **changes: object) -> Observation:
    """An answer whose picture was kept, with an embedding in a plane."""
    angle = math.radians(degrees)
    embedding = np.array([math.cos(angle), math.sin(angle)], "<f2").tobytes()
    row = observation(number, picture=f"2027-01-15/{number}.png", novelty=None)
    return replace(row, embedding=embedding, entropy=entropy, **changes)  # type: ignore[arg-type]


def write(store: Store, *rows: Observation) -> None:
    store.write(Batch(observations=rows, models=[MODEL]))


def put(labels: LabelStore, number: int, labeller: str, label: str) -> None:
    labels.put(Label(observation_id=id_of(number), labeller=labeller, time=NOW + 100, label=label))


def offered(labels: LabelStore, labeller: str = "anna", *, limit: int = 10, since: float = 0.0) -> list[str]:
    return [task.id for task in labels.next_tasks(labeller, since=since, limit=limit)]


def test_only_kept_pictures_of_known_truth_are_left_out(store: Store, labels: LabelStore) -> None:
    write(
        store,
        kept(0, degrees=0),
        kept(1, degrees=90),
        observation(2),
        kept(3, degrees=180),
        kept(4, degrees=270, time=time.time() + 1e6),
    )
    store.feedback(Feedback(observation_id=id_of(3), time=NOW, emotion="sad"))
    assert set(offered(labels)) == {id_of(0), id_of(1)}
    assert offered(labels, since=NOW + 1) == [id_of(1)]
    [task] = labels.next_tasks("anna", since=0, limit=5, exists=lambda name: name.endswith("/0.png"))
    assert (task.id, task.classes, task.time) == (id_of(0), CLASSES, NOW)


def test_the_uncertain_come_first_and_near_duplicates_not_at_all(store: Store, labels: LabelStore) -> None:
    # The model is certain of all but the first, and 1° is nearly the same as 0°.
    degrees = (0, 1, 90, 180)
    write(
        store,
        *(
            kept(number, degrees=angle, entropy=0.0 if number else 1.0)
            for number, angle in enumerate(degrees)
        ),
    )
    first, *others = offered(labels)
    assert first == id_of(0)
    assert sorted(others) == [id_of(2), id_of(3)]
    assert offered(labels, limit=1) == [id_of(0)]
    put(labels, 0, "ben", "sad")
    put(labels, 0, "cleo", "sad")
    # A near-duplicate of an agreed picture tells nothing new.
    assert sorted(offered(labels)) == [id_of(2), id_of(3)]


def test_pictures_on_which_models_disagree_come_first(store: Store, labels: LabelStore) -> None:
    write(store, *(kept(number, degrees=90 * number, entropy=0.0) for number in range(3)))
    recorder = Recorder(store)
    recorder.start()
    recorder.record_disagreement(id_of(1), 1.0)
    recorder.record_disagreement(id_of(2), 0.0)
    recorder.record_disagreement(id_of(9), 1.0)  # not stored: ignored
    recorder.close()
    # (0 + 1) / 2; the others have nothing that speaks for them.
    first, *others = offered(labels)
    assert first == id_of(1)
    assert sorted(others) == [id_of(0), id_of(2)]


def test_a_person_gets_nothing_twice_and_others_get_what_was_begun_first(
    store: Store, labels: LabelStore
) -> None:
    write(store, *(kept(number, degrees=90 * number, entropy=number / 4) for number in range(4)))
    put(labels, 0, "anna", "sad")
    put(labels, 1, "anna", SKIP)
    assert set(offered(labels)) == {id_of(2), id_of(3)}
    assert offered(labels, "ben")[0] == id_of(0)
    assert set(offered(labels, "ben")) == {id_of(number) for number in range(4)}
    assert offered(labels, "ben", limit=1) == [id_of(0)]
    assert (labels.count("anna"), labels.count("ben")) == (1, 0)


def test_it_is_offered_until_people_agree_or_it_is_disputed(store: Store, labels: LabelStore) -> None:
    write(store, kept(0, degrees=0))
    for labeller, label in (("anna", "sad"), ("ben", "happy"), ("cleo", SKIP)):
        put(labels, 0, labeller, label)
    assert offered(labels, "dora") == [id_of(0)]
    put(labels, 0, "dora", "angry")
    assert offered(labels, "emil") == []
    put(labels, 0, "dora", "sad")
    assert offered(labels, "emil") == []
    assert labels.withdraw(id_of(0), "dora")
    assert offered(labels, "emil") == [id_of(0)]
    assert not labels.withdraw(id_of(0), "dora")
    assert not labels.withdraw(id_of(1), "anna")


def test_one_label_is_enough_where_one_is_needed(store: Store, url: str) -> None:
    labels = LabelStore(url, needed=1)
    write(store, kept(0, degrees=0), kept(1, degrees=90))
    put(labels, 0, "anna", "sad")
    assert offered(labels, "ben") == [id_of(1)]
    assert [picture.emotion for picture in labels.labelled_pictures()] == ["sad"]
    labels.close()


def test_a_second_label_of_a_person_replaces_the_first(store: Store, labels: LabelStore) -> None:
    write(store, kept(0, degrees=0))
    put(labels, 0, "anna", "sad")
    put(labels, 0, "anna", "happy")
    assert labels.summary() == LabelSummary(
        pictures={"open": 1, "agreed": 0, "disputed": 0}, agreed={}, labels=1, skips=0, labellers=1,
        alpha=None, disputed=[],
    )  # fmt: skip


def test_what_is_not_stored_cannot_be_labelled(store: Store, labels: LabelStore) -> None:
    with pytest.raises(ObservationUnknown) as refused:
        put(labels, 7, "anna", "sad")
    assert refused.value.id == id_of(7)


def test_the_summary_counts_and_measures_agreement(store: Store, labels: LabelStore) -> None:
    write(store, *(kept(number, degrees=60 * number) for number in range(5)))
    given = {
        0: ("sad", "sad"), 1: ("happy", "happy"), 2: ("sad", "happy", "angry"), 3: ("angry", SKIP),
        4: (SKIP,),
    }  # fmt: skip
    for number, values in given.items():
        for labeller, label in zip(("anna", "ben", "cleo"), values, strict=False):
            put(labels, number, labeller, label)
    found = labels.summary()
    assert found.pictures == {"open": 1, "agreed": 2, "disputed": 1}
    assert found.agreed == {"sad": 1, "happy": 1}
    assert (found.labels, found.skips, found.labellers) == (8, 2, 3)
    assert found.disputed == [DisputedPicture(id=id_of(2), labels={"sad": 1, "happy": 1, "angry": 1})]
    # By hand: 7 pairable labels, 3 sad, 3 happy, 1 angry; 6 ordered pairs of picture 2 differ, each 1/2:
    # 1 − (7 − 1) · 3 / (49 − 19).
    assert found.alpha == pytest.approx(1 - 6 * 3 / 30)


def test_agreed_labels_and_feedback_are_the_truth_of_kept_pictures(store: Store, labels: LabelStore) -> None:
    rows = [kept(number, degrees=60 * number) for number in range(5)]
    write(store, *(replace(row, box=(10, -5, 200, 210) if row.id == id_of(0) else None) for row in rows))
    store.feedback(Feedback(observation_id=id_of(1), time=NOW, emotion="happy"))
    store.feedback(Feedback(observation_id=id_of(2), time=NOW, emotion="happy"))
    for labeller in ("anna", "ben"):
        put(labels, 0, labeller, "angry")
        put(labels, 1, labeller, "sad")
        put(labels, 3, labeller, NOT_A_FACE)
    put(labels, 2, "anna", "sad")
    put(labels, 4, "anna", "sad")

    def known(number: int, emotion: str, box: tuple[int, int, int, int] | None = None) -> LabelledPicture:
        return LabelledPicture(id=id_of(number), picture=f"2027-01-15/{number}.png", box=box, emotion=emotion)

    assert labels.labelled_pictures() == [
        known(0, "angry", (10, -5, 200, 210)),
        # Several people replace one client; a single label does not.
        known(1, "sad"),
        known(2, "happy"),
        known(3, NOT_A_FACE),
    ]


def test_labels_go_with_their_answer(store: Store, labels: LabelStore) -> None:
    write(store, *(kept(number, degrees=60 * number) for number in range(3)))
    for number in range(3):
        put(labels, number, "anna", "sad")
    store.delete(id_of(0))
    assert labels.count("anna") == 2
    store.purge(NOW + 1.5)
    assert labels.count("anna") == 1
    store.purge(NOW + 1e6)
    assert labels.summary().labels == 0
