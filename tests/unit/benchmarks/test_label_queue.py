"""The simulated queue chooses new pictures, and the labels that it needs are read off its curve."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.label_queue import Network, needed, next_rows, table
from serving.observations.ranking import Embeddings


def network(count: int) -> Network:
    """Pictures that are unlike each other; the later ones are the less certain."""
    vectors = np.random.default_rng(0).normal(size=(count, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Network(
        accuracy=0.5,
        entropy=np.linspace(0, 1, count),
        embeddings=Embeddings(models=np.full(count, "one"), vectors=vectors),
    )


def test_chosen_pictures_have_no_label_yet_and_are_the_uncertain_ones() -> None:
    labelled = np.array([0, 5, 11])
    rows = next_rows(network(1000), labelled, 7, 300)
    assert len(set(rows.tolist())) == 300
    assert not set(rows.tolist()) & set(labelled.tolist())
    # By chance alone the mean row is 500 with a deviation of 14.
    assert rows.mean() > 560


@pytest.mark.parametrize(
    ("accuracy", "share"), [(0.4, 0.1), (0.5, 0.1), (0.55, 0.15), (0.6, 0.2), (0.7, 0.35), (0.9, None)]
)
def test_labels_that_are_needed_lie_between_the_rounds(accuracy: float, share: float | None) -> None:
    # 0.1: 0.5; 0.2: 0.6; 0.3: as much again; 0.4: 0.8.
    found = needed([0.5, 0.6, 0.55, 0.8], accuracy)
    assert found == (None if share is None else pytest.approx(share))


def test_the_table_compares_with_what_random_choice_has() -> None:
    lines = table({"random": [0.5, 0.6], "queue": [0.5, 0.7]})
    assert lines[-1] == "| 20% | 0.600 | 0.700 | 75% |"
