"""Fail if the quality gate rejected the model: `python -m pipelines.verdict`.

This is the last stage, after `report` and `register`, so that a rejected model ends the run with an
explanation and exit status 1. An experiment (`dvc exp run`) registers nothing and never fails here.
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
    """Return the verdict of the quality gate in one line.

    Raises:
        GateRejected: the model did not pass.
        ResultCorrupt: `gate.json` is missing or damaged.
    """
    keys = ("architecture", "passed", "experiment", "reasons")
    record = read_record(path, keys=keys, stage="gate")
    if record["experiment"]:
        return _experiment_verdict(record)
    if not record["passed"]:
        raise GateRejected(architecture=record["architecture"], reasons=record["reasons"])
    return f"{record['architecture']} passed the quality gate"


def _experiment_verdict(record: Mapping[str, Any]) -> str:
    would = "would pass" if record["passed"] else "would not pass"
    return f"{record['architecture']} {would}; {'; '.join(record['reasons'])}"


def main() -> None:
    """Print the verdict, or fail with the reasons."""
    print(verdict(GATE))


if __name__ == "__main__":
    run_stage(main)
