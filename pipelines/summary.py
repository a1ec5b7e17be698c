"""What `make run` prints at its end: `python -m pipelines.summary` (a second).

The comparison, what was registered or why not, where the report lies, and what to do next.
Reads results only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipelines.compare import render
from pipelines.files import read_json
from pipelines.layout import COMPARISON, GATE, REPORT
from pipelines.stage import run_stage

NEXT = """What now?
  make serve                    the service and its page, on port 8000
  make ui                       runs, versions and promotion in MLflow
  make help                     everything else
  source .venv/bin/activate     once in a terminal, for dvc, python, mlflow and prefect
  git commit -am "Trained"      keeps what belongs to these results
  dvc exp run -S models.lenet.epochs=40 && dvc exp show"""


def outcome(gate: Mapping[str, Any]) -> str:
    """One paragraph on what the gate decided and what the registry holds."""
    registered = gate["registered"]
    if registered is None:
        reasons = "\n".join(f"  - {reason}" for reason in gate["reasons"])
        return f"Not registered: {gate['architecture']}\n{reasons}"
    aliases = ", ".join(registered["aliases"]) or "no alias"
    return (
        f"Registered: {registered['model']} version {registered['version']} "
        f"({gate['architecture']}; {aliases})"
    )


def main() -> None:
    """Print the summary of whatever results there are."""
    for path, show in ((COMPARISON, lambda found: render(found)), (GATE, outcome)):
        try:
            print(f"\n{show(read_json(path))}")
        except FileNotFoundError:
            print(f"\n{path} is not there: the pipeline stopped before it.")
        except (json.JSONDecodeError, KeyError, TypeError):
            print(f"\n{path} is damaged: delete it and run `dvc repro`.")
    report = REPORT.resolve().as_uri() if REPORT.exists() else "not written: the pipeline stopped before it"
    print(f"\nReport: {report}\n\n{NEXT}")


if __name__ == "__main__":
    run_stage(main)
