"""A model of which eight people's test pictures cannot show whether it is worse than production."""

from __future__ import annotations

import pytest

from pipelines.core import paths
from pipelines.core.errors import GateRejected
from pipelines.core.io import sha256_of
from pipelines.gate.record import GateVerdict
from pipelines.register.promote import promote
from pipelines.register.status import SETTLED_CACHE, decide, read_registry_status
from pipelines.tracking import runs as tracking
from pipelines.tracking.registry import Registry, Version
from pipelines.verdict import verdict
from tests.support.registry_world import World, judge_and_register

WIDE, NARROW = 0.5, 0.02
"""Margins of accuracy; no test of eight people can show that a drop is below the second one."""


def run(world: World, margin: float, *, on_unclear: str = "hold") -> GateVerdict:
    """Register, and read the verdict."""
    params = world.params(min_accuracy=0.1, max_accuracy_drop=margin, on_unclear=on_unclear)
    return judge_and_register(world, params)


def registry() -> Registry:
    return Registry("emotion", uri=tracking.connect())


def versions() -> list[Version]:
    """Newest first."""
    return registry().versions()


@pytest.fixture
def retrained(world: World) -> World:
    """`lenet` is in production; another file that gives the same answers is selected."""
    run(world, WIDE)
    world.add_model("vgg", seed=1)
    return world


def test_it_is_registered_without_an_alias_and_the_run_succeeds(retrained: World) -> None:
    said = run(retrained, NARROW)
    assert (said.outcome, said.passed) == ("held", True)
    [check] = [one for one in said.checks if one.unclear]
    assert check.drop is not None
    assert (check.name, check.drop.value, check.drop.outcome) == ("max_accuracy_drop", 0.0, "unclear")
    assert said.reasons == (check.reason,)
    newest, oldest = versions()
    assert (newest.aliases, oldest.aliases) == ((), ("candidate", "production"))
    assert newest.tags["gate"] == "held"
    assert check.reason in newest.description
    assert check.reason in verdict(retrained.root / paths.GATE)


def test_a_second_run_changes_nothing(retrained: World) -> None:
    run(retrained, NARROW)
    files = (retrained.root / paths.GATE, retrained.root / paths.MLFLOW_DATABASE)
    before = [sha256_of(path) for path in files]
    (retrained.root / SETTLED_CACHE).unlink()
    run(retrained, NARROW)
    assert [sha256_of(path) for path in files] == before


@pytest.mark.parametrize(
    ("on_unclear", "outcome", "aliases"),
    [
        ("pass", "passed", {1: ("production",), 2: ("candidate",)}),
        ("hold", "held", {1: ("candidate", "production"), 2: ()}),
        ("fail", "failed", {1: ("candidate", "production")}),
    ],
)
def test_the_parameter_decides(
    retrained: World, on_unclear: str, outcome: str, aliases: dict[int, tuple[str, ...]]
) -> None:
    assert run(retrained, NARROW, on_unclear=on_unclear).outcome == outcome
    assert {version.number: version.aliases for version in versions()} == aliases
    if outcome == "failed":
        with pytest.raises(GateRejected, match="unclear"):
            verdict(retrained.root / paths.GATE)


def test_a_candidate_that_is_held_later_loses_the_alias(retrained: World) -> None:
    assert run(retrained, WIDE).outcome == "passed"
    assert versions()[0].aliases == ("candidate",)
    assert run(retrained, NARROW).outcome == "held"
    newest, oldest = versions()
    assert (newest.aliases, oldest.aliases) == ((), ("production",))


def test_a_person_can_promote_it_and_is_warned(retrained: World) -> None:
    run(retrained, NARROW)
    assert "could not show" in promote(registry(), 2, by="anna")
    assert versions()[0].aliases == ("production",)


def test_the_summary_of_a_run_says_that_a_person_decides(retrained: World) -> None:
    said = run(retrained, NARROW)
    decision = decide(said, before=None, ask=lambda: read_registry_status(retrained.root, "emotion"))
    assert decision.held
    first, reason = str(decision).splitlines()
    assert "emotion version 2 (vgg; no alias)" in first
    assert said.reasons[0] in reason


def test_without_production_only_the_floors_count(world: World) -> None:
    assert run(world, NARROW).outcome == "passed"
    assert versions()[0].aliases == ("candidate", "production")
