"""The gate's limit for gaps between groups of people, on a finished pipeline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.core import paths
from pipelines.core.records import write_record
from pipelines.core.results import read_evaluation
from pipelines.gate.record import GateVerdict
from pipelines.gate.stage import judge_selected
from pipelines.metrics import AttributeScores, IntervalEstimate
from pipelines.metrics.attributes import MEASURES
from tests.support.registry_world import World


def judge(world: World, **gate: float | str) -> GateVerdict:
    return judge_selected(Path(), world.params(**gate))


def attribute(gap: float | None, *, spread: float | None = 0.05) -> AttributeScores:
    """An attribute with this gap between its groups, of each measure; None: only one group."""
    if gap is None:
        return AttributeScores(groups={}, left_out={"dark": 3}, gaps={})
    low, high = (None, None) if spread is None else (gap - spread, gap + spread)
    return AttributeScores(
        groups={}, left_out={}, gaps=dict.fromkeys(MEASURES, IntervalEstimate(value=gap, low=low, high=high))
    )


def evaluated(**attributes: AttributeScores) -> None:
    found = read_evaluation(Path(), "lenet")
    write_record(paths.evaluation_metrics("lenet"), replace(found, attributes=attributes))


def failures(said: GateVerdict) -> list[str]:
    return [check.name for check in said.checks if not check.passed]


def test_the_gap_of_every_attribute_is_limited(world: World) -> None:
    evaluated(skin=attribute(0.08), age=attribute(0.2), beard=attribute(None))
    said = judge(world, max_attribute_gap=0.1)
    assert failures(said) == ["max_attribute_gap.age"]
    [skin] = [check for check in said.checks if check.name == "max_attribute_gap.skin"]
    assert (skin.value, skin.low, skin.high) == (0.08, 0.03, 0.13)
    assert failures(judge(world, max_attribute_gap=0.2)) == []


def test_the_intervals_end_is_judged_if_asked(world: World) -> None:
    evaluated(skin=attribute(0.08))
    assert failures(judge(world, max_attribute_gap=0.1, floors="bound")) == ["max_attribute_gap.skin"]
    assert failures(judge(world, max_attribute_gap=0.14, floors="bound")) == []


def test_a_gap_without_an_interval_keeps_to_no_bound(world: World) -> None:
    evaluated(skin=attribute(0.08, spread=None))
    assert failures(judge(world, max_attribute_gap=0.1)) == []
    assert failures(judge(world, max_attribute_gap=0.5, floors="bound")) == ["max_attribute_gap.skin"]


@pytest.mark.parametrize("attributes", [{}, {"skin": attribute(None)}])
def test_a_limit_without_groups_fails(world: World, attributes: dict[str, AttributeScores]) -> None:
    evaluated(**attributes)
    assert failures(judge(world, max_attribute_gap=0.5)) == ["max_attribute_gap"]
    assert failures(judge(world, min_accuracy=0.5)) == []


def test_attributes_that_were_measured_again_are_judged_again(world: World) -> None:
    evaluated(skin=attribute(0.08))
    assert judge(world, max_attribute_gap=0.1).passed
    evaluated(skin=attribute(0.3))
    assert not judge(world, max_attribute_gap=0.1).passed
