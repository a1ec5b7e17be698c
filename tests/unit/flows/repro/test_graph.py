"""The plan of stages: read from DVC's drawing, thinned out, and what waits for what."""

from __future__ import annotations

import pytest

from flows.errors import ParametersInvalid
from flows.repro.graph import Plan, architecture_of, check_chosen, of_architectures, parse_dot

DOT = """strict digraph {
"data.dvc";
"prepare";
"train@lenet";
"train@vgg";
"compare";
"data.dvc" -> "prepare";
"data.dvc" -> "compare";
"prepare" -> "train@lenet";
"prepare" -> "train@vgg";
"train@lenet" -> "compare";
"train@vgg" -> "compare";
}
"""
PLAN = parse_dot(DOT)


def test_stages_stand_in_dvc_s_order_without_data_files() -> None:
    assert PLAN.stages == ("prepare", "train@lenet", "train@vgg", "compare")
    assert PLAN.needs["prepare"] == frozenset()
    assert PLAN.needs["compare"] == {"train@lenet", "train@vgg"}


def test_stage_left_out_hands_its_predecessors_on() -> None:
    thinned = PLAN.without(["train@vgg"])
    assert thinned.stages == ("prepare", "train@lenet", "compare")
    assert thinned.needs["compare"] == {"train@lenet", "prepare"}


def test_chain_left_out_whole_keeps_the_order() -> None:
    chain = Plan({"a": frozenset(), "b": frozenset("a"), "c": frozenset("b"), "d": frozenset("c")})
    assert chain.without(["b", "c"]).needs == {"a": frozenset(), "d": frozenset("a")}


@pytest.mark.parametrize(
    ("failed", "waiting"),
    [
        (["prepare"], {"train@lenet", "train@vgg", "compare"}),
        (["train@vgg"], {"compare"}),
        (["compare"], set()),
        ([], set()),
    ],
)
def test_what_waits_for_a_failed_stage_at_any_distance(failed: list[str], waiting: set[str]) -> None:
    assert PLAN.blocked_by(failed) == waiting


def test_stage_that_runs_alone_stays_so_in_a_thinned_plan() -> None:
    plan = Plan(PLAN.needs, frozenset({"compare", "train@vgg"}))
    assert plan.without(["train@vgg"]).alone == {"compare"}


def test_chosen_architectures_leave_the_others_stages_out() -> None:
    assert of_architectures(PLAN, ["vgg"], ["lenet", "vgg"]).stages == ("prepare", "train@vgg", "compare")
    assert of_architectures(PLAN, None, ["lenet", "vgg"]) == PLAN


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        (
            ["vgg", "vgg19"],
            "architectures: got 'vgg19', expected names that `architectures` in params.yaml lists "
            "(lenet, vgg); start the run again with that",
        ),
        (
            [],
            "architectures: got [], expected names that `architectures` in params.yaml lists "
            "(lenet, vgg), or nothing for all of them; start the run again with that",
        ),
    ],
)
def test_choice_that_cannot_be_trained_is_reported(chosen: list[str], said: str) -> None:
    with pytest.raises(ParametersInvalid) as caught:
        check_chosen(chosen, ["lenet", "vgg"])
    assert str(caught.value) == said


def test_architecture_stands_behind_the_at_sign() -> None:
    assert architecture_of("train@vit_pretrained") == "vit_pretrained"
    assert architecture_of("latency") is None
