"""Which requests belong to a share."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from serving.traffic import format_percent, is_in_share, parse_share

SUBJECTS = [f"from 203.0.{index // 256}.{index % 256}" for index in range(10_000)]


def test_every_process_chooses_the_same(repository: Path) -> None:
    code = (
        "from serving.traffic import is_in_share\n"
        "print([index for index in range(200) if is_in_share(f'key client-{index}', 0.25)])"
    )
    # Python's own hash would differ between these two.
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(repository)},
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert outputs == {str([index for index in range(200) if is_in_share(f"key client-{index}", 0.25)])}


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("kind", ["addresses", "ids"])
def test_as_many_are_chosen_as_the_share_says(share: float, kind: str) -> None:
    subjects = SUBJECTS if kind == "addresses" else [f"request {index:032x}" for index in range(10_000)]
    count = sum(is_in_share(subject, share) for subject in subjects)
    # The binomial distribution's standard deviation; five of them hold but once in 1.7 million draws.
    assert abs(count - 10_000 * share) <= 5 * math.sqrt(10_000 * share * (1 - share))


def test_a_larger_share_keeps_everybody_of_the_smaller_one() -> None:
    small = {subject for subject in SUBJECTS if is_in_share(subject, 0.05)}
    large = {subject for subject in SUBJECTS if is_in_share(subject, 0.2)}
    assert small < large


def test_none_and_all() -> None:
    assert not any(is_in_share(subject, 0.0) for subject in SUBJECTS)
    assert all(is_in_share(subject, 1.0) for subject in SUBJECTS)


@pytest.mark.parametrize(
    ("text", "share"),
    [("10%", 0.1), ("0.1", 0.1), (" 2.5 % ", 0.025), ("0", 0.0), ("100%", 1.0), ("1", 1.0), (".5", 0.5),
     (0.3, 0.3), (1e-5, 1e-5), (1, 1.0)],
)  # fmt: skip
def test_a_share_is_read_in_both_forms(text: str | float, share: float) -> None:
    assert parse_share(text) == pytest.approx(share)


@pytest.mark.parametrize(
    "text", ["", "10", "110%", "-1%", "1.1", "ten", "10%%", "nan", "1e-1", 2.0, float("nan")]
)
def test_what_is_not_a_share_is_refused_with_both_forms(text: str | float) -> None:
    with pytest.raises(ValueError, match=r"written like 10% or 0\.1"):
        parse_share(text)


def test_a_share_is_shown_in_percent() -> None:
    assert [format_percent(0.1), format_percent(0.025), format_percent(1.0)] == ["10%", "2.5%", "100%"]
