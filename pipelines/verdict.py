"""Fail when the gate did: `python -m pipelines.verdict`.

The last stage, after `report` and `register`, so that a rejected model ends with an explanation and exit
status 1. An experiment (`dvc exp run`) registers nothing and therefore never fails here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.core.cli import run_stage
from pipelines.core.errors import GateRejected
from pipelines.core.io import read_record
from pipelines.core.paths import GATE


def verdict(path: Path) -> str:
    """The gate's verdict in one line.

    Raises:
        GateRejected: the model did not pass.
        ResultCorrupt: `gate.json` is absent or damaged.
    """
    keys = ("architecture", "passed", "experiment", "reasons")
    said = read_record(path, keys=keys, stage="gate")
    if said["experiment"]:
        return _of_experiment(said)
    if not said["passed"]:
        raise GateRejected(architecture=said["architecture"], reasons=said["reasons"])
    return f"{said['architecture']} passed the gate"


def _of_experiment(said: Mapping[str, Any]) -> str:
    would = "would pass" if said["passed"] else "would not pass"
    return f"{said['architecture']} {would}; {'; '.join(said['reasons'])}"


def main() -> None:
    """Print the verdict, or fail with its reasons."""
    print(verdict(GATE))


if __name__ == "__main__":
    run_stage(main)
