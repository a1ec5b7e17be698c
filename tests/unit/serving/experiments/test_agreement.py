"""Counts of two models' answers, and what they say."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from serving.experiments.agreement import NOTHING, Agreement, Durations, ModelPair, total_variation
from serving.experiments.report import kappa, summarize
from serving.experiments.shared_state import COUNTS, SharedCounts

PAIR = ModelPair(live=("1", "a" * 64), shadow=("2", "b" * 64))


def counted(*answers: tuple[str, str, int], since: float = 100.0, pair: ModelPair = PAIR) -> Agreement:
    made = Agreement(pair=pair, since=since)
    for live, shadow, count in answers:
        for _ in range(count):
            made.add(live, shadow, 0.0 if live == shadow else 0.75)
    return made


def test_agreement_is_reported_overall_and_by_the_live_models_emotion() -> None:
    summary = summarize(counted(("happy", "happy", 6), ("happy", "sad", 2), ("sad", "sad", 2)))
    assert (summary.compared, summary.agreed, summary.agreement) == (10, 8, 0.8)
    # By hand: both say happy with 0.8 · 0.6 and sad with 0.2 · 0.4, so 0.56 by chance.
    assert summary.kappa == pytest.approx((0.8 - 0.56) / (1 - 0.56), abs=1e-6)
    assert summary.mean_probability_difference == pytest.approx(0.15)
    happy = summary.emotions["happy"]
    assert (happy.compared, happy.agreed, happy.agreement) == (8, 6, 0.75)
    assert happy.shadow == {"happy": 6, "sad": 2}
    assert happy.mean_probability_difference == pytest.approx(2 * 0.75 / 8)
    assert summary.emotions["sad"].agreement == 1.0


def test_where_the_shadow_saw_no_face_it_did_not_agree() -> None:
    summary = summarize(counted(("happy", NOTHING, 1), ("happy", "happy", 1)))
    assert summary.agreement == 0.5
    assert summary.emotions["happy"].shadow == {"no face": 1, "happy": 1}


def test_kappa_is_scikit_learns() -> None:
    random = np.random.default_rng(3)
    names = np.array(["angry", "happy", "sad", "surprise"])
    ours = names[random.integers(0, 4, 300)]
    theirs = np.where(random.random(300) < 0.6, ours, names[random.integers(0, 4, 300)])
    pairs = Counter(zip(ours.tolist(), theirs.tolist(), strict=True))
    assert kappa(pairs) == pytest.approx(cohen_kappa_score(ours, theirs), abs=1e-6)
    summary = summarize(counted(*((one, other, count) for (one, other), count in pairs.items())))
    for name in names.tolist():
        expected = cohen_kappa_score(ours == name, theirs == name)
        assert summary.emotions[name].kappa == pytest.approx(expected, abs=1e-6)


def test_without_anything_to_tell_apart_there_is_no_kappa() -> None:
    assert kappa(Counter()) is None
    assert kappa(Counter({("happy", "happy"): 9})) is None


def test_nothing_counted_is_reported_as_null() -> None:
    nothing = counted()
    summary = summarize(nothing)
    assert (summary.compared, summary.agreement, summary.kappa) == (0, None, None)
    assert summary.emotions == {}
    assert (nothing.live.summary_ms(), nothing.shadow.summary_ms()) == (None, None)


@pytest.mark.parametrize(
    ("live", "shadow", "distance"),
    [
        ({"a": 0.7, "b": 0.3}, {"a": 0.7, "b": 0.3}, 0.0),
        ({"a": 0.7, "b": 0.3}, {"b": 0.6, "a": 0.4}, 0.3),
        ({"a": 1.0}, {"b": 1.0}, 1.0),
    ],
)
def test_the_distance_of_two_answers(
    live: dict[str, float], shadow: dict[str, float], distance: float
) -> None:
    assert total_variation(live, shadow) == pytest.approx(distance)


def test_percentiles_are_right_within_a_step() -> None:
    durations = Durations()
    seconds = np.random.default_rng(1).lognormal(-5, 1, 5000)
    for one in seconds.tolist():
        durations.add(one)
    summary = durations.summary_ms()
    assert summary is not None
    assert summary["mean"] == pytest.approx(1e3 * seconds.mean(), rel=1e-3)
    assert summary["p50"] == pytest.approx(1e3 * np.quantile(seconds, 0.5), rel=0.05)
    assert summary["p95"] == pytest.approx(1e3 * np.quantile(seconds, 0.95), rel=0.05)


def full() -> Agreement:
    made = counted(("happy", "sad", 2), ("sad", "sad", 1))
    made.live.add(0.01)
    made.shadow.add(0.5)
    made.dropped, made.failed, made.last_error = 3, 1, (150.0, "why")
    return made


def test_counts_are_read_back_as_written(tmp_path: Path) -> None:
    SharedCounts(tmp_path).add(full())
    assert SharedCounts(tmp_path).read() == full()
    assert set(json.loads((tmp_path / COUNTS).read_bytes())) == {
        "live_model", "shadow_model", "since", "answers", "distances", "live", "shadow", "dropped", "failed",
        "last_error",
    }  # fmt: skip


def test_workers_add_up_to_one_report(tmp_path: Path) -> None:
    shared = SharedCounts(tmp_path)
    shared.add(full())
    other = counted(("happy", "happy", 4), since=120.0)
    other.last_error = (170.0, "later")
    shared.add(other)
    kept = shared.read()
    assert kept is not None
    assert kept.answers == {("happy", "sad"): 2, ("sad", "sad"): 1, ("happy", "happy"): 4}
    assert (kept.since, kept.dropped, kept.failed) == (100.0, 3, 1)
    assert kept.last_error == (170.0, "later")


def test_another_model_starts_again_and_late_counts_of_the_one_before_are_dropped(tmp_path: Path) -> None:
    shared = SharedCounts(tmp_path)
    promoted = ModelPair(live=("2", "b" * 64), shadow=("3", "c" * 64))
    shared.add(counted(("happy", "happy", 4)))
    shared.add(counted(("sad", "sad", 1), since=200.0, pair=promoted))
    shared.add(counted(("happy", "happy", 9)))
    kept = shared.read()
    assert kept is not None
    assert (kept.pair, kept.since, kept.answers) == (promoted, 200.0, {("sad", "sad"): 1})


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"live_model": ["1"]}'])
def test_damaged_counts_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / COUNTS).write_text(text)
    shared = SharedCounts(tmp_path)
    assert shared.read() is None
    shared.add(full())
    assert shared.read() == full()
