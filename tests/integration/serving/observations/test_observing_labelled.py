"""Kept pictures with feedback, from either database."""

from __future__ import annotations

from serving.observations.labels import LabelledPicture, LabelStore
from serving.observations.records import Feedback
from serving.observations.store import Batch, Store
from tests.support.observing import NOW, id_of, observation


def test_kept_pictures_with_feedback_come_oldest_first(store: Store, url: str) -> None:
    rows = [
        observation(0, picture="2027-01-15/b.png", time=NOW + 9, box=None),
        observation(1, picture="2027-01-15/a.png"),
        observation(2, picture="2027-01-15/untold.png"),
        observation(3),
    ]
    store.write(Batch(observations=rows))
    for number, emotion in ((0, "sad"), (1, "angry"), (1, "happy"), (3, "happy")):
        store.feedback(Feedback(observation_id=id_of(number), time=NOW, emotion=emotion))
    labels = LabelStore(url, needed=2)
    assert labels.labelled_pictures() == [
        LabelledPicture(id=id_of(1), picture="2027-01-15/a.png", box=(10, -5, 200, 210), emotion="happy"),
        LabelledPicture(id=id_of(0), picture="2027-01-15/b.png", box=None, emotion="sad"),
    ]
    labels.close()
