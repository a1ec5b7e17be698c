"""Which stages there are and what comes before what: DVC's own graph, not a second list of it.

What DVC does not know stands in a stage's `meta` in dvc.yaml, which is not a dependency. `alone: true`:
nothing runs beside it (`latency` measures). `node: coordinator`: on a cluster it runs where the flow does, so
that the stage that measures and the one that describes the machine (`machine`) are on one node.
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
# Data files are DVC's nodes too, but there is nothing to run.
_DATA = ".dvc"
COORDINATOR = "coordinator"
"""Value of `meta.node`: the machine that the flow itself runs on."""


@dataclass(frozen=True)
class Plan:
    """Stages in dvc.yaml's order, with what each one waits for."""

    needs: Mapping[str, frozenset[str]]
    """Stage → stages whose outputs it reads."""
    alone: frozenset[str] = frozenset()
    """Stages beside which nothing runs."""

    @property
    def stages(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(self.needs)

    def without(self, left_out: Iterable[str]) -> Plan:
        """The plan without some stages; what stood before one of them stands before its successors."""
        needs = dict(self.needs)
        for stage in left_out:
            before = needs.pop(stage)
            needs = {
                name: (others - {stage}) | before if stage in others else others
                for name, others in needs.items()
            }
        return Plan(needs, self.alone & needs.keys())

    def blocked_by(self, failed: Iterable[str]) -> frozenset[str]:
        """Stages that wait for one of `failed`, at any distance."""
        found = set(failed)
        while more := {name for name, others in self.needs.items() if others & found} - found:
            found |= more
        return frozenset(found - set(failed))


def read_plan(root: Path, environment: Mapping[str, str]) -> Plan:
    """Ask DVC for the stages of the repository at `root`.

    Raises:
        GraphUnreadable: dvc.yaml or what it refers to is damaged, or there are no stages.
    """
    asked = run_dvc(["dag", "--dot"], root, environment)
    if asked.status != 0:
        raise GraphUnreadable(root=root, reason=asked.reason)
    plan = parse_dot(asked.output)
    if not plan.needs:
        raise GraphUnreadable(root=root, reason="there are none")
    alone = frozenset(stage for stage in plan.stages if _meta(root, stage).get("alone") is True)
    return Plan(plan.needs, alone)


def parse_dot(text: str) -> Plan:
    """Read the output of `dvc dag --dot`."""
    needs: dict[str, set[str]] = {}
    for line in text.splitlines():
        if found := _NODE.match(line.strip()):
            needs.setdefault(found[1], set())
        elif found := _EDGE.match(line.strip()):
            needs.setdefault(found[2], set()).add(found[1])
    stages = [name for name in needs if not name.endswith(_DATA)]
    return Plan({name: frozenset(needs[name] & set(stages)) for name in stages})


def check_chosen(chosen: Sequence[str] | None, listed: Sequence[str]) -> None:
    """See whether these architectures can be trained.

    Args:
        chosen: names, or None for all.
        listed: what `architectures` in params.yaml lists.

    Raises:
        ParametersInvalid: none is chosen, or one that params.yaml does not list.
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
    """Leave out the stages (`train@NAME` and so on) of architectures that were not chosen."""
    if chosen is None:
        return plan
    others = set(listed) - set(chosen)
    return plan.without([stage for stage in plan.stages if architecture_of(stage) in others])


def architecture_of(stage: str) -> str | None:
    """`vgg` for `train@vgg`; None for a stage that is there once."""
    return stage.partition("@")[2] or None


def at_coordinator(root: Path, stage: str) -> bool:
    """Whether a stage runs where the flow does: by its `meta`, or since it belongs to no architecture."""
    return architecture_of(stage) is None or _meta(root, stage).get("node") == COORDINATOR


def _meta(root: Path, stage: str) -> Mapping[str, Any]:
    """What dvc.yaml says of a stage beside its dependencies."""
    declared: Mapping[str, Any] = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    found = declared.get(stage.partition("@")[0], {})
    meta: Mapping[str, Any] = found.get("do", found).get("meta") or {}
    return meta
