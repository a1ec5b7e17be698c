"""The stages and their order, read from DVC's own graph.

A stage's `meta` in dvc.yaml, which is not a dependency, adds what DVC has no field for. `alone: true`: no
other stage runs at the same time (`latency` measures). `node: coordinator`: on a cluster it runs on the
machine of the flow, so that the stage that measures and the one that describes the machine (`machine`) share
one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from flows.errors import GraphUnreadable, ParametersInvalid
from flows.repro.commands import run_dvc

_NODE = re.compile(r'^"([^"]+)";$')
_EDGE = re.compile(r'^"([^"]+)" -> "([^"]+)";$')
# Data files are nodes of DVC's graph too, but have no command.
_DATA = ".dvc"
COORDINATOR = "coordinator"
"""Value of `meta.node`: the machine of the flow run."""


@dataclass(frozen=True)
class Plan:
    """Stages in dvc.yaml's order, with the stages that each one depends on."""

    needs: Mapping[str, frozenset[str]]
    """Stage → stages whose outputs it reads."""
    alone: frozenset[str] = frozenset()
    """Stages that run while no other stage runs."""

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of all stages."""
        return tuple(self.needs)

    def without(self, removed: Iterable[str]) -> Plan:
        """The plan without some stages; successors of a removed stage depend on its predecessors."""
        needs = dict(self.needs)
        for stage in removed:
            before = needs.pop(stage)
            needs = {
                name: (others - {stage}) | before if stage in others else others
                for name, others in needs.items()
            }
        return Plan(needs, self.alone & needs.keys())

    def blocked_by(self, failed: Iterable[str]) -> frozenset[str]:
        """Stages that depend on one of `failed`, directly or through other stages."""
        found = set(failed)
        while more := {name for name, others in self.needs.items() if others & found} - found:
            found |= more
        return frozenset(found - set(failed))


def read_plan(root: Path, environment: Mapping[str, str]) -> Plan:
    """Ask DVC for the stages of the repository at `root`.

    Raises:
        GraphUnreadable: dvc.yaml or a file that it refers to is damaged, or there are no stages.
    """
    result = run_dvc(["dag", "--dot"], root, environment)
    if result.status != 0:
        raise GraphUnreadable(root=root, reason=result.reason)
    plan = parse_dot(result.output)
    if not plan.needs:
        raise GraphUnreadable(root=root, reason="dvc.yaml has no stages")
    alone = frozenset(stage for stage in plan.stages if _meta(root, stage).get("alone") is True)
    return Plan(plan.needs, alone)


def parse_dot(text: str) -> Plan:
    """Parse the output of `dvc dag --dot`."""
    needs: dict[str, set[str]] = {}
    for line in text.splitlines():
        if found := _NODE.match(line.strip()):
            needs.setdefault(found[1], set())
        elif found := _EDGE.match(line.strip()):
            needs.setdefault(found[2], set()).add(found[1])
    stages = [name for name in needs if not name.endswith(_DATA)]
    return Plan({name: frozenset(needs[name] & set(stages)) for name in stages})


def check_chosen(chosen: Sequence[str] | None, listed: Sequence[str]) -> None:
    """Check that the chosen architectures can be trained.

    Args:
        chosen: names, or None for all.
        listed: `architectures` in params.yaml.

    Raises:
        ParametersInvalid: the list is empty, or has a name that is not in params.yaml.
    """
    expected = f"names that `architectures` in params.yaml lists ({', '.join(listed)})"
    if chosen is not None and not chosen:
        raise ParametersInvalid(
            parameter="architectures", got=[], expected=f"{expected}, or nothing for all of them"
        )
    for name in chosen or ():
        if name not in listed:
            raise ParametersInvalid(parameter="architectures", got=name, expected=expected)


def of_architectures(plan: Plan, chosen: Sequence[str] | None, listed: Sequence[str]) -> Plan:
    """The plan without the stages (`train@NAME` and so on) of architectures that were not chosen."""
    if chosen is None:
        return plan
    others = set(listed) - set(chosen)
    return plan.without([stage for stage in plan.stages if architecture_of(stage) in others])


def architecture_of(stage: str) -> str | None:
    """`vgg` for `train@vgg`; None for a stage that belongs to no architecture."""
    return stage.partition("@")[2] or None


def at_coordinator(root: Path, stage: str) -> bool:
    """Whether a stage runs on the flow's machine: it belongs to no architecture, or its `meta` says so."""
    return architecture_of(stage) is None or _meta(root, stage).get("node") == COORDINATOR


def _meta(root: Path, stage: str) -> Mapping[str, Any]:
    """A stage's `meta` in dvc.yaml."""
    declared: Mapping[str, Any] = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    found = declared.get(stage.partition("@")[0], {})
    meta: Mapping[str, Any] = found.get("do", found).get("meta") or {}
    return meta
