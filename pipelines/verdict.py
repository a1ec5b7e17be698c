"""Fail if the quality gate rejected the model: `python -m pipelines.verdict`.

This is the last stage, after `report` and `register`, so that a rejected model ends the run with an
explanation and exit status 1. A model that is held passes, with the reasons. An experiment (`dvc exp run`)
registers nothing and never fails here.
"""

from __future__ import annotations

from pathlib import Path

from pipelines.core.cli import run_stage
from pipelines.core.errors import GateRejected
from pipelines.core.paths import GATE
from pipelines.gate.record import read_verdict


def verdict(path: Path) -> str:
    """Return the verdict of the quality gate in one line.

    Raises:
        GateRejected: the model did not pass.
        ResultCorrupt: `gate.json` is missing or damaged.
    """
    record = read_verdict(path)
    if record.experiment:
        would = {"passed": "would pass", "held": "would be held", "failed": "would not pass"}[record.outcome]
        return f"{record.architecture} {would}; {'; '.join(record.reasons)}"
    if not record.passed:
        raise GateRejected(architecture=record.architecture, reasons=record.reasons)
    if record.held:
        return f"{record.architecture} is registered without an alias: {'; '.join(record.reasons)}"
    return f"{record.architecture} passed the quality gate"


def main() -> None:
    """Print the verdict, or fail with the reasons."""
    print(verdict(GATE))


if __name__ == "__main__":
    run_stage(main)
