"""Answers to pictures with several faces, and feedback on each, from either database."""

from __future__ import annotations

import pytest

from serving.observations.consensus import NOT_A_FACE
from serving.observations.labels import Label, LabelledPicture, LabelStore
from serving.observations.records import Feedback
from serving.observations.store import MAX_FEEDBACK, Batch, Store
from tests.support.observing import MODEL, NOW, OTHER_FACES, execute, id_of, observation


def feedback(number: int, face: int, emotion: str) -> Feedback:
    return Feedback(observation_id=id_of(number), face=face, time=NOW, emotion=emotion)


def test_faces_come_back_as_they_were_written(store: Store) -> None:
    several = observation(1, faces=3, other_faces=OTHER_FACES)
    store.write(Batch(observations=[several, observation(2)], models=[MODEL]))
    assert store.observation(id_of(1)).observation == several
    assert [row.observation for row in store.window("3").rows] == [several, observation(2)]


@pytest.mark.parametrize("in_batch", [True, False], ids=["written in a batch", "written at once"])
def test_of_each_face_the_last_feedback_counts(store: Store, in_batch: bool) -> None:
    store.write(Batch(observations=[observation(n, faces=3, other_faces=OTHER_FACES) for n in (1, 2)]))
    given = [(1, 2, "sad"), (1, 0, "angry"), (1, 2, "happy"), (2, 1, "sad"), (1, 0, "sad")]
    rows = [feedback(number, face, emotion) for number, face, emotion in given]
    if in_batch:
        store.write(Batch(feedback=rows))
    else:
        for row in rows:
            store.feedback(row)
    expected = {id_of(1): {0: "sad", 2: "happy"}, id_of(2): {1: "sad"}}
    for id, emotions in expected.items():
        assert store.observation(id).true_emotions == emotions
    assert {row.observation.id: row.true_emotions for row in store.window("3").rows} == expected
    assert store.observation(id_of(2)).feedback is None


def test_much_feedback_on_one_face_leaves_that_on_others(store: Store, url: str) -> None:
    store.write(Batch(observations=[observation(1, faces=3, other_faces=OTHER_FACES)]))
    store.feedback(feedback(1, 0, "angry"))
    for number in range(MAX_FEEDBACK + 3):
        store.feedback(feedback(1, 1, "sad" if number % 2 else "happy"))
    assert store.observation(id_of(1)).true_emotions == {0: "angry", 1: "happy"}
    # The first three of the face's 19 are gone, so nothing is left without the others.
    execute(url, "DELETE FROM feedback WHERE number > 4")
    assert store.observation(id_of(1)).true_emotions == {0: "angry"}


def test_an_answer_goes_with_the_feedback_on_all_faces(store: Store) -> None:
    store.write(Batch(observations=[observation(1, other_faces=OTHER_FACES)]))
    for face in range(3):
        store.feedback(feedback(1, face, "sad"))
    store.delete(id_of(1))
    store.write(Batch(observations=[observation(1, other_faces=OTHER_FACES)]))
    assert store.observation(id_of(1)).true_emotions == {}


def test_each_face_with_feedback_is_a_labelled_picture(store: Store, url: str) -> None:
    name = "2027-01-15/a.png"
    store.write(Batch(observations=[observation(1, picture=name, faces=3, other_faces=OTHER_FACES)]))
    for face, emotion in ((2, "happy"), (2, "angry"), (0, "sad")):
        store.feedback(feedback(1, face, emotion))
    labels = LabelStore(url, needed=2)

    def picture(face: int, emotion: str) -> LabelledPicture:
        box = OTHER_FACES[face - 1].box if face else (10, -5, 200, 210)
        return LabelledPicture(id=id_of(1), picture=name, face=face, box=box, emotion=emotion)

    assert labels.labelled_pictures() == [picture(0, "sad"), picture(2, "angry")]
    # People label the largest face only.
    for person in ("anna", "ben"):
        labels.put(Label(observation_id=id_of(1), labeller=person, time=NOW, label=NOT_A_FACE))
    assert labels.labelled_pictures() == [picture(0, NOT_A_FACE), picture(2, "angry")]
    labels.close()


def test_a_picture_is_labelled_though_another_face_has_feedback(store: Store, url: str) -> None:
    rows = [
        observation(number, picture=f"2027-01-15/{number}.png", other_faces=OTHER_FACES) for number in (1, 2)
    ]
    store.write(Batch(observations=rows, models=[MODEL]))
    store.feedback(feedback(1, 1, "sad"))
    store.feedback(feedback(2, 0, "sad"))
    labels = LabelStore(url, needed=2)
    assert [task.id for task in labels.next_tasks("anna", since=NOW - 60, limit=5)] == [id_of(1)]
    labels.close()
