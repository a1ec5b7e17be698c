"""When requests of an open loop are due, and how latencies of several rounds become rows and goals."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from benchmarks.open_load import Arrivals, OpenLoad, percentile, pinned_to, timetable
from benchmarks.peers.environments import available
from benchmarks.peers.open_loop import PEERS
from benchmarks.peers.recipes import recipes
from benchmarks.peers.tail import Pace, TailRow, tail_goals, tail_row, tail_tables


def test_even_arrivals_are_equally_far_apart() -> None:
    assert timetable("even", rate=4, seconds=1.5, seed=1) == [0, 0.25, 0.5, 0.75, 1.0, 1.25]


def test_random_arrivals_have_the_rate_and_the_gaps_of_a_poisson_process() -> None:
    due = timetable("poisson", rate=200, seconds=100, seed=1)
    # 20,000 expected; a Poisson count has a standard deviation of its mean's root, 141.
    assert abs(len(due) - 20_000) < 4 * 141
    gaps = np.diff(due)
    assert gaps.min() > 0
    # Exponential: the standard deviation is the mean, and e^-1 of the gaps are longer than it.
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.03)
    assert (gaps > gaps.mean()).mean() == pytest.approx(np.exp(-1), abs=0.02)
    assert due[-1] < 100


def test_the_seed_alone_decides() -> None:
    one, same, other = (timetable("poisson", rate=50, seconds=10, seed=seed) for seed in (3, 3, 4))
    assert one == same
    assert one != other


@pytest.mark.parametrize(("share", "expected"), [(0.5, 5), (0.99, 10), (0.1, 1), (0.11, 2), (1.0, 10)])
def test_a_percentile_is_a_value_by_nearest_rank(share: float, expected: int) -> None:
    values = [7, 3, 9, 1, 5, 10, 2, 8, 4, 6]
    assert percentile(values, share) == expected
    assert percentile(values, share) == np.percentile(values, 100 * share, method="inverted_cdf")


def test_a_core_is_for_the_block_and_what_it_starts() -> None:
    before = os.sched_getaffinity(0)
    core = max(before)
    shown = [sys.executable, "-c", "import os; print(*os.sched_getaffinity(0))"]
    with pinned_to(core):
        assert os.sched_getaffinity(0) == {core}
        assert subprocess.check_output(shown, text=True).split() == [str(core)]
    assert os.sched_getaffinity(0) == before


def test_no_core_changes_nothing() -> None:
    before = os.sched_getaffinity(0)
    with pinned_to(None):
        assert os.sched_getaffinity(0) == before


def test_every_peer_has_a_recipe_and_one_of_them_is_bare() -> None:
    chosen = [recipe for recipe in recipes() if recipe.name in PEERS]
    assert len(chosen) == len(PEERS)
    assert [recipe.name for recipe in chosen if not recipe.complete] == [PEERS[0]]


def test_an_environment_that_cannot_be_made_is_named_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("broken", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / "broken/requirements.txt").write_text("not a requirement\n")
    (tmp_path / "empty/requirements.txt").write_text("# none\n")
    monkeypatch.setattr("benchmarks.peers.environments.HERE", tmp_path)
    programs, missing = available(["broken", "empty"], tmp_path / "cache")
    assert (programs["empty"] / "python").exists()
    assert list(missing) == ["broken"]
    assert missing["broken"].startswith("uv pip failed")


def load(*latencies_ms: float, lost: int = 0) -> OpenLoad:
    return OpenLoad(latencies_ms=latencies_ms, late_ms=[0.1] * len(latencies_ms), lost=lost, most_open=1)


def row(
    title: str,
    p99_ms: list[float],
    *,
    kind: str = "complete",
    share: float = 0.7,
    arrivals: Arrivals = "poisson",
) -> TailRow:
    rounds = [(Pace(picture_ms=2.0, capacity_per_s=100), load(1.0, value)) for value in p99_ms]
    return tail_row(title, kind, arrivals=arrivals, share=share, rounds=rounds)


def test_a_row_has_the_percentiles_of_each_round_and_the_rate_of_its_minute() -> None:
    rounds = [
        (Pace(picture_ms=2.0, capacity_per_s=200), load(*range(1, 1001))),
        (Pace(picture_ms=4.0, capacity_per_s=100), load(*range(2, 2002, 2), lost=3)),
    ]
    made = tail_row("it", "bare", arrivals="even", share=0.9, rounds=rounds)
    assert made.rate_per_s == [180, 90]
    assert (made.p50_ms, made.p99_ms, made.p999_ms) == ([500, 1000], [990, 1980], [999, 1998])
    assert made.times(made.p50_ms) == [250, 250]
    assert (made.requests, made.lost) == ([1000, 1000], [0, 3])


def test_a_table_has_medians_multiples_and_what_was_lost() -> None:
    rounds = [
        (Pace(picture_ms=2.0, capacity_per_s=100), load(4.0, 10.0)),
        (Pace(picture_ms=2.0, capacity_per_s=110), load(6.0, 12.0, lost=1)),
        (Pace(picture_ms=4.0, capacity_per_s=120), load(8.0, 12.0)),
    ]
    lines = list(tail_tables([tail_row("it", "bare", arrivals="even", share=0.5, rounds=rounds)], {}))
    assert lines[0] == "**even arrivals, 50 %: 55 requests/s**"
    assert lines[4] == "| it | 6.0 | 12.0 | 12.0 | 2.0 | 5.00 (3.00–6.00) | 5.0 | 6 | 1 | 0.10 |"
    assert len({line.count("|") for line in lines[2:5]}) == 1


@pytest.mark.parametrize(
    ("arrivals", "p99_ms", "verdict"),
    [
        ("poisson", 12.0, "met"),
        ("poisson", 12.1, "**missed**"),
        ("even", 6.0, "met"),
        ("even", 6.1, "**missed**"),
    ],
)
def test_the_goal_is_a_multiple_of_a_picture(arrivals: Arrivals, p99_ms: float, verdict: str) -> None:
    (line,) = tail_goals([row("mien", [p99_ms] * 3, kind="ours", arrivals=arrivals)])
    assert line.strip(" |").split(" | ")[-1] == verdict


def test_the_lowest_other_server_under_the_same_load_is_the_measure() -> None:
    rows = [
        row("mien", [10, 11, 12], kind="ours", share=0.5),
        row("slower", [20, 20, 20], share=0.5),
        row("best", [10, 10, 10], share=0.5),
        row("under another load", [5, 5, 5], share=0.9),
    ]
    (line,) = tail_goals(rows)
    assert (
        line
        == "| Poisson arrivals, 50 %: p99 ÷ lowest other (best) | ≤ 1.0 | 1.10 (1.00–1.20) | **missed** |"
    )


def test_a_server_that_is_not_there_is_named() -> None:
    assert list(tail_tables([], {"MLServer": "uv venv failed: offline"}))[-1] == (
        "\nMLServer is not available here: uv venv failed: offline"
    )


def test_no_moment_comes_before_the_one_ahead_of_it() -> None:
    due = timetable("poisson", rate=1000, seconds=1, seed=7)
    assert all(earlier < later for earlier, later in pairwise(due))
