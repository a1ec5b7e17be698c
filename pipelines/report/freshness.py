"""Find results in the report that come from an earlier run, by reading `dvc.lock` without running DVC.

`dvc repro report` updates all results first. The report can also be made directly, or by a run of only
some architectures (`flows.training`): then it mixes older and newer results, and names the older ones.
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
    """List stages behind the report whose parameters or inputs have changed since they ran.

    Empty if `dvc.lock` records nothing to compare with.
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
    """List the stages that make any of these paths, directly or indirectly, in the order of the lock file."""
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
