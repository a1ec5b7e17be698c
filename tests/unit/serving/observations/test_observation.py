from __future__ import annotations

import collections

import numpy as np
import pytest
from scipy import stats

from serving.detection.responses import entropy, summarize_output
from serving.observations.records import StoredObservation
from serving.observations.schema import MAX_LEVEL, level_of, observation_row
from tests.support.observing import id_of, observation


@pytest.mark.parametrize(
    "probabilities",
    [
        pytest.param([1.0, 0.0, 0.0], id="certain"),
        pytest.param([0.25, 0.25, 0.25, 0.25], id="undecided"),
        pytest.param([0.7, 0.2, 0.1], id="between"),
    ],
)
def test_entropy_is_shannons_in_nats(probabilities: list[float]) -> None:
    assert entropy(probabilities) == pytest.approx(stats.entropy(probabilities))
    assert str(entropy([1.0, 0.0])) == "0.0"


def test_probabilities_and_embedding_come_back_as_they_were() -> None:
    probabilities = np.array([0.1, 0.7, 0.2], np.float32)
    embedding = np.array([0.5, -2.0, 1e6, 1 / 3], np.float32)
    outcome = summarize_output(probabilities, embedding)
    recorded = StoredObservation(
        observation=observation(probabilities=outcome.probabilities, embedding=outcome.embedding)
    )
    np.testing.assert_array_equal(recorded.probabilities(), probabilities)
    # Beyond float16's range: its largest value.
    np.testing.assert_array_equal(recorded.embedding(), np.array([0.5, -2, 65504, 1 / 3], np.float16))
    assert outcome.confidence == probabilities.max()


def test_each_level_holds_half_of_what_is_left() -> None:
    count = 40_000
    levels = collections.Counter(level_of(id_of(number)) for number in range(count))
    for level in range(6):
        expected = count / 2 ** (level + 1)
        # Binomial; five deviations are passed once in two million runs, and the ids are always the same.
        assert abs(levels[level] - expected) < 5 * (expected * (1 - 2 ** -(level + 1))) ** 0.5
    assert max(levels) <= MAX_LEVEL


def test_a_row_holds_numbers_and_no_pixels() -> None:
    row = observation_row(observation(box=None))
    assert row["face_left"] is row["face_height"] is None
    sizes = {name: len(value) for name, value in row.items() if isinstance(value, bytes)}
    assert sizes == {"probabilities": 3 * 4, "embedding": 8 * 2}
