"""A batch of scores as a window."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.drift.data import read_scores
from serving.drift.result import WindowRule
from serving.errors.operation import BatchTooSmall


def write(path: Path, rows: int) -> Path:
    """Rows of which every fifth, from the first on, has no answer."""
    answered = [number % 5 != 0 for number in range(rows)]
    pick = [number if yes else None for number, yes in enumerate(answered)]
    values = [None if number is None else number / 100 for number in pick]
    table = pa.table(
        {
            "emotion": [None if number is None else f"class {number % 2}" for number in pick],
            "probability": pa.array(values, pa.float32()),
            **dict.fromkeys(("entropy", "brightness", "contrast", "sharpness"), values),
            "box": [
                None if number is None or number % 2 else {"left": 0, "top": 0, "width": 40, "height": number}
                for number in pick
            ],
            "embedding": pa.array(
                [None if number is None else [float(number), 1e6] for number in pick], pa.list_(pa.float32())
            ),
        }
    )
    pq.write_table(table, path)
    os.utime(path, (1000, 1000))
    return path


def test_rows_with_an_answer_are_compared(tmp_path: Path) -> None:
    window = read_scores(write(tmp_path / "scores.parquet", 10), WindowRule(min_rows=8), version="3")
    assert window.table.numbers["brightness"].tolist() == [
        0.01, 0.02, 0.03, 0.04, 0.06, 0.07, 0.08, 0.09,
    ]  # fmt: skip
    assert window.table.numbers["confidence"] == pytest.approx(window.table.numbers["brightness"])
    assert window.table.predicted[:2].tolist() == ["class 1", "class 0"]
    # The shorter side of a face; no number for a whole picture, whose size scores do not hold.
    np.testing.assert_array_equal(
        window.table.numbers["face_size"], [np.nan, 2, np.nan, 4, 6, np.nan, 8, np.nan]
    )
    # The largest finite half-precision number, as observations keep it.
    assert window.table.embedding[0].tolist() == [1.0, 65504.0]
    assert (window.total, window.sampled, window.since, window.until) == (8, False, 1000, 1000)
    assert window.feedback == (None,) * 8


def test_novelty_is_compared_where_the_model_has_it(tmp_path: Path) -> None:
    path, rule = write(tmp_path / "scores.parquet", 10), WindowRule(min_rows=8)
    assert "novelty" not in read_scores(path, rule, version="3").table.numbers
    table = pq.read_table(path)
    pq.write_table(table.append_column("novelty", pa.array(np.linspace(0, 0.9, 10))), path)
    found = read_scores(path, rule, version="3").table.numbers["novelty"]
    np.testing.assert_allclose(found, [0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9])


def test_of_more_rows_than_are_looked_at_some_are_drawn_the_same_every_time(tmp_path: Path) -> None:
    path = write(tmp_path / "scores.parquet", 500)
    rule = WindowRule(min_rows=1, max_rows=50)
    window, again = (read_scores(path, rule, version="3") for _ in range(2))
    assert (len(window.table), window.total, window.sampled) == (50, 400, True)
    values = window.table.numbers["brightness"]
    assert len(set(values.tolist())) == 50
    assert values.max() > 4
    np.testing.assert_array_equal(values, again.table.numbers["brightness"])


def test_too_few_answers_are_no_window(tmp_path: Path) -> None:
    with pytest.raises(BatchTooSmall, match="only 8 answers of version 3") as caught:
        read_scores(write(tmp_path / "scores.parquet", 10), WindowRule(min_rows=9), version="3")
    assert "requests" not in str(caught.value), "a batch is finished: nothing more comes"
    with pytest.raises(BatchTooSmall, match="no answers of version 3"):
        read_scores(write(tmp_path / "none.parquet", 0), WindowRule(min_rows=1), version="3")
