"""Which results below the report are of an earlier run: read from `dvc.lock`, without asking DVC.

`dvc repro report` brings everything up to date first. The report can also be made by hand, or by a run of
some architectures only (`flows.training`): then older results stand beside new ones, and it says which.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from pipelines.core import paths
from pipelines.run_record import read_yaml

_LOCK = Path("dvc.lock")
_STAGES = Path("dvc.yaml")


def earlier_stages(root: Path) -> list[str]:
    """Stages whose results the report shows, and whose settings or inputs are others than when they ran.

    Empty where nothing is recorded: then there is nothing to compare with.
    """
    try:
        locked = read_yaml(root / _LOCK)["stages"]
        wanted = read_yaml(root / _STAGES)["stages"]["report"]["deps"]
        settings = read_yaml(root / paths.PARAMS)
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return []
    made = {out["path"]: out.get("md5") for stage in locked.values() for out in stage.get("outs", ())}
    listed = settings.get("architectures", ())
    return [
        name
        for name in _upstream(locked, wanted)
        if name.partition("@")[2] in ("", *listed) and _has_changed(locked[name], made, settings)
    ]


def _upstream(locked: Mapping[str, Any], wanted: list[str]) -> list[str]:
    """Stages that make any of these paths, or what those were made from; in the lock's order."""
    found: set[str] = set()
    paths = list(wanted)
    while paths:
        path = paths.pop()
        for name, stage in locked.items():
            if name not in found and any(_overlap(out["path"], path) for out in stage.get("outs", ())):
                found.add(name)
                paths += [dep["path"] for dep in stage.get("deps", ())]
    return [name for name in locked if name in found]


def _overlap(one: str, other: str) -> bool:
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def _has_changed(stage: Mapping[str, Any], made: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    inputs = any(made.get(dep["path"], dep.get("md5")) != dep.get("md5") for dep in stage.get("deps", ()))
    recorded = stage.get("params", {}).get(str(paths.PARAMS), {})
    return inputs or any(_value(settings, key) != value for key, value in recorded.items())


def _value(settings: Any, key: str) -> Any:
    for part in key.split("."):
        settings = settings.get(part) if isinstance(settings, Mapping) else None
    return settings
