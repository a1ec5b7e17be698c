from __future__ import annotations

from serving.observations.buffer import Buffer
from serving.observations.records import Disagreement, Feedback, StoredObservation
from tests.support.observing import NOW, OTHER_FACES, SWITCH, id_of, observation


def a_buffer(capacity: int = 10, picture_bytes: int = 100) -> Buffer:
    return Buffer(capacity=capacity, picture_bytes=picture_bytes)


def feedback(number: int, emotion: str, *, face: int = 0) -> Feedback:
    return Feedback(observation_id=id_of(number), face=face, time=NOW, emotion=emotion)


def filled(count: int, **size: int) -> Buffer:
    buffer = a_buffer(**size)
    for number in range(count):
        buffer.add(observation(number), None)
    return buffer


def found(buffer: Buffer, number: int) -> StoredObservation:
    item = buffer.find(id_of(number))
    assert item is not None
    return item


def taken_ids(buffer: Buffer, rows: int) -> list[str]:
    return [item.observation.id for item in buffer.take(rows)[0]]


def test_rows_are_taken_oldest_first_and_again_until_they_are_done() -> None:
    buffer = filled(3)
    assert taken_ids(buffer, 2) == [id_of(0), id_of(1)]
    assert taken_ids(buffer, 2) == [id_of(0), id_of(1)]
    buffer.done()
    assert taken_ids(buffer, 2) == [id_of(2)]
    buffer.done()
    assert len(buffer) == 0


def test_the_oldest_make_room_and_are_counted() -> None:
    buffer = filled(13)
    assert buffer.dropped == 3
    assert taken_ids(buffer, 100) == [id_of(number) for number in range(3, 13)]


def test_rows_in_the_writers_hands_are_not_dropped() -> None:
    buffer = filled(10)
    taken = taken_ids(buffer, 4)
    for number in range(10, 20):
        buffer.add(observation(number), None)
    assert taken_ids(buffer, 4) == taken
    assert len(buffer) == 10
    assert buffer.dropped == 10


def test_notes_that_may_be_lost_leave_room_for_the_others() -> None:
    buffer = a_buffer(capacity=4)
    for number in range(9):
        buffer.note_if_room(Disagreement(observation_id=id_of(number), distance=0.5))
    buffer.note(SWITCH)
    buffer.note(feedback(1, "sad"))
    notes = buffer.take(10)[1]
    assert [getattr(note, "observation_id", None) for note in notes] == [id_of(0), id_of(1), None, id_of(1)]
    assert buffer.dropped_notes == 0


def test_notes_are_bounded_too() -> None:
    buffer = a_buffer(capacity=2)
    for note in (feedback(1, "sad"), SWITCH, SWITCH):
        buffer.note(note)
    assert buffer.dropped_notes == 1
    assert buffer.take(5)[1] == [SWITCH, SWITCH]


def test_an_observation_is_found_until_it_is_written() -> None:
    buffer = filled(2)
    assert found(buffer, 1).observation == observation(1)
    buffer.take(1)
    assert found(buffer, 0).observation == observation(0)
    buffer.done()
    assert buffer.find(id_of(0)) is None


def test_feedback_joins_its_waiting_observation_and_the_last_one_counts() -> None:
    buffer = filled(1)
    assert not buffer.note_if_waiting(feedback(1, "sad"))
    assert buffer.note_if_waiting(feedback(0, "sad"))
    buffer.take(1)
    assert buffer.note_if_waiting(feedback(0, "happy"))
    assert found(buffer, 0).feedback == "happy"


def test_each_face_of_a_waiting_observation_has_its_own_feedback() -> None:
    buffer = a_buffer()
    buffer.add(observation(0, other_faces=OTHER_FACES), None)
    assert buffer.note_if_waiting(feedback(0, "sad", face=2))
    buffer.take(1)
    for face, emotion in ((0, "sad"), (2, "happy"), (0, "angry")):
        assert buffer.note_if_waiting(feedback(0, emotion, face=face))
    assert found(buffer, 0).true_emotions == {0: "angry", 2: "happy"}
    buffer.done()
    assert buffer.take(10)[1] == [feedback(0, "happy", face=2), feedback(0, "angry")]
    buffer.done()


def test_a_removed_observation_takes_the_feedback_on_all_its_faces_along() -> None:
    buffer = a_buffer()
    buffer.add(observation(0, other_faces=OTHER_FACES), None)
    for face in range(3):
        buffer.note_if_waiting(feedback(0, "sad", face=face))
    assert buffer.remove(id_of(0))
    assert buffer.take(10) == ([], [])


def test_a_removed_observation_takes_its_feedback_along() -> None:
    buffer = filled(2)
    buffer.note_if_waiting(feedback(0, "sad"))
    buffer.note_if_waiting(feedback(1, "happy"))
    assert buffer.remove(id_of(0))
    assert not buffer.remove(id_of(0))
    rows, notes = buffer.take(10)
    assert [row.observation.id for row in rows] == [id_of(1)]
    assert notes == [feedback(1, "happy")]
    # The writer has it now: only the database can delete it.
    assert not buffer.remove(id_of(1))
    assert buffer.is_taken(id_of(1))
    assert not buffer.is_taken(id_of(0))


def test_feedback_that_waits_is_removed_though_its_observation_is_written() -> None:
    buffer = filled(1)
    buffer.take(1)
    buffer.note_if_waiting(feedback(0, "sad"))
    buffer.done()
    assert not buffer.remove(id_of(0))
    assert buffer.take(1) == ([], [])


def test_pictures_are_bounded_by_their_bytes() -> None:
    buffer = a_buffer(picture_bytes=100)
    buffer.add(observation(0), b"x" * 60)
    buffer.add(observation(1), b"x" * 60)
    assert buffer.dropped_pictures == 1
    pictures = [item.picture for item in buffer.take(10)[0]]
    assert pictures == [b"x" * 60, None]
    buffer.keep(observation(0, picture="kept.jpg"))
    assert buffer.take(10)[0][0].observation.picture == "kept.jpg"
    buffer.add(observation(2), b"x" * 100)
    assert buffer.dropped_pictures == 1


def test_what_is_given_up_is_counted() -> None:
    buffer = filled(3)
    buffer.note(SWITCH)
    buffer.take(1)
    assert buffer.give_up() == 4
    assert (len(buffer), buffer.dropped, buffer.dropped_notes) == (0, 3, 1)
