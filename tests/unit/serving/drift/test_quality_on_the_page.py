"""When Evidently's page may show quality: it takes two labels for a binary question and fails."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from serving.drift.data import CorrectedFace
from serving.drift.report import shows_quality


def column(predicted: list[str]) -> Any:
    return SimpleNamespace(is_classes=True, window=np.array(predicted))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([None, None, None], False),
        (["happy", None, None], False),
        (["sad", None, None], False),
        (["sad", "angry", None], True),
        (["happy", "happy", "fear"], True),
    ],
    ids=["none", "one, right", "one, wrong", "three labels", "three labels of three rows"],
)
def test_quality_is_shown_with_more_than_two_labels_between_truth_and_answers(
    labels: list[str | None], expected: bool
) -> None:
    current: Any = SimpleNamespace(feedback=tuple(labels), other_faces=())
    assert shows_quality([column(["happy", "happy", "sad"])], current) is expected


def test_the_other_faces_of_the_pictures_count_too() -> None:
    others = (CorrectedFace(true="fear", predicted="happy"),)
    current: Any = SimpleNamespace(feedback=("sad", None), other_faces=others)
    assert shows_quality([column(["happy", "happy"])], current)


def test_without_the_column_of_answers_there_is_nothing_to_judge() -> None:
    number: Any = SimpleNamespace(is_classes=False, window=np.zeros(1))
    current: Any = SimpleNamespace(feedback=("sad",), other_faces=())
    assert not shows_quality([number], current)
