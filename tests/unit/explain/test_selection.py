from __future__ import annotations

import pandas as pd
import pytest

from pipelines.explain.selection import CONFIDENT_WRONG, CORRECT, WRONG, pick_faces, pick_panels

CLASSES = ("happy", "sad", "fear")


def predictions(right: int = 6, wrong: int = 6) -> pd.DataFrame:
    """For each class `right` right and `wrong` wrong test pictures, and one of val that must not be shown."""
    rows = []
    for position, label in enumerate(CLASSES):
        other = CLASSES[(position + 1) % 3]
        for index in range(right + wrong):
            answer = label if index < right else other
            name = f"images/test/{label}/{index}.png"
            rows.append((name, "test", label, answer, 0.5 + 0.03 * index + 0.01 * position))
        rows.append((f"images/val/{label}/x.png", "val", label, other, 0.999))
    return pd.DataFrame(rows, columns=["path", "split", "label", "predicted", "confidence"])


def test_panels_hold_what_their_names_say() -> None:
    panels = pick_panels(predictions(), count=6)

    assert all(pick.predicted == pick.label for pick in panels[CORRECT])
    assert all(pick.predicted != pick.label for pick in (*panels[WRONG], *panels[CONFIDENT_WRONG]))
    assert [len(own) for own in panels.values()] == [6, 6, 6]


def test_only_the_test_split_is_shown_and_nothing_twice() -> None:
    paths = [pick.path for own in pick_panels(predictions(), count=6).values() for pick in own]

    assert len(set(paths)) == len(paths)
    assert all(path.startswith("images/test/") for path in paths)


def test_the_most_confident_mistakes_are_exactly_the_ones_of_highest_probability() -> None:
    table = predictions()
    wrong = table[(table["split"] == "test") & (table["label"] != table["predicted"])]

    panel = pick_panels(table, count=4)[CONFIDENT_WRONG]

    expected = wrong.sort_values("confidence", ascending=False)["path"].tolist()[:4]
    assert [pick.path for pick in panel] == expected


@pytest.mark.parametrize("panel", [CORRECT, WRONG])
def test_every_class_is_shown_before_any_is_shown_twice(panel: str) -> None:
    labels = [pick.label for pick in pick_panels(predictions(), count=6)[panel]]

    assert sorted(labels[:3]) == sorted(CLASSES)
    assert sorted(labels[3:]) == sorted(CLASSES)


def test_the_order_of_the_rows_changes_nothing() -> None:
    table = predictions()

    assert pick_panels(table, count=5) == pick_panels(table.sample(frac=1, random_state=1), count=5)


def test_a_new_picture_of_another_class_does_not_replace_one() -> None:
    table = predictions()
    more = pd.concat(
        [table, pd.DataFrame([("images/test/new/a.png", "test", "new", "new", 0.9)], columns=table.columns)]
    )

    before = {pick.path for pick in pick_panels(table, count=3)[CORRECT]}
    after = {pick.path for pick in pick_panels(more, count=4)[CORRECT]}

    assert before < after


def test_a_perfect_model_has_empty_panels_of_mistakes() -> None:
    panels = pick_panels(predictions(wrong=0), count=6)

    assert panels[WRONG] == panels[CONFIDENT_WRONG] == ()


def test_faces_for_all_networks_are_new_ones_as_long_as_there_are_any() -> None:
    table = predictions(right=2, wrong=0)
    shown = pick_panels(table, count=4)[CORRECT]

    faces = pick_faces(table, count=4, but=shown)

    assert {face.path for face in faces[:2]}.isdisjoint(pick.path for pick in shown)
    assert {face.path for face in faces[2:]} <= {pick.path for pick in shown}
