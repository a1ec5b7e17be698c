from __future__ import annotations

import pytest

from pipelines.reporting import words


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (words.percent(0.7142), "71.4 %"),
        (words.percent(0.7142, 0), "71 %"),
        (words.percent(None), "–"),
        (words.share(0.71421), "0.714"),
        (words.count(1_234_567), "1 234 567"),
        (words.large(23_850_887), "23.9 M"),
        (words.large(296_711), "297 k"),
        (words.large(42), "42"),
        (words.measure(0.2134, "ms"), "0.21 ms"),
        (words.measure(95.62, "MB"), "95.6 MB"),
        (words.measure(120.4, "MB"), "120 MB"),
        (words.plain(200.0), "200"),
        (words.plain(0.45678), "0.4568"),
        (words.plain(None), "–"),
        (words.plural(1, "face", "faces"), "1 face"),
        (words.plural(0, "face", "faces"), "0 faces"),
    ],
)
def test_numbers_are_written_for_a_reader(said: str, expected: str) -> None:
    assert said.replace("\u202f", " ") == expected
