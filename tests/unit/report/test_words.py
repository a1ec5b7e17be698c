from __future__ import annotations

import pytest

from pipelines.report import formatting


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (formatting.percent(0.7142), "71.4 %"),
        (formatting.percent(0.7142, 0), "71 %"),
        (formatting.percent(None), "–"),
        (formatting.share(0.71421), "0.714"),
        (formatting.count(1_234_567), "1 234 567"),
        (formatting.large(23_850_887), "23.9 M"),
        (formatting.large(296_711), "297 k"),
        (formatting.large(42), "42"),
        (formatting.measure(0.2134, "ms"), "0.21 ms"),
        (formatting.measure(95.62, "MB"), "95.6 MB"),
        (formatting.measure(120.4, "MB"), "120 MB"),
        (formatting.plain(200.0), "200"),
        (formatting.plain(0.45678), "0.4568"),
        (formatting.plain(None), "–"),
        (formatting.plural(1, "face", "faces"), "1 face"),
        (formatting.plural(0, "face", "faces"), "0 faces"),
    ],
)
def test_numbers_are_written_for_a_reader(said: str, expected: str) -> None:
    assert said.replace("\u202f", " ") == expected
