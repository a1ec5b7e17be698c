"""The gate: may the selected model be registered? `python -m pipelines.gate`.

Some seconds when there is something to judge, about a second when nothing is new. It always runs, for the
model in production, which the selected one is compared with, stands in MLflow's registry. That is only read:
`pipelines.register` publishes. Where the registry cannot be asked, the rest is judged and the comparison
counts as failed, so that the report is written either way. Exits with 0 whatever the verdict;
`pipelines.verdict` fails on it.
"""

from __future__ import annotations

import os
from pathlib import Path

from pipelines.core import paths
from pipelines.core.errors import RegistryError, ResultCorrupt
from pipelines.core.io import write_json
from pipelines.core.params import Params, load_params
from pipelines.gate import rules
from pipelines.gate.evaluation import GateInputs, judge, look_up_production, read_gate_inputs
from pipelines.gate.record import GateVerdict, read_verdict
from pipelines.register import status
from pipelines.tracking import runs as tracking

EXPERIMENT = "DVC_EXP_NAME"
"""Set by DVC for the commands of `dvc exp run`."""


def judge_selected(root: Path, params: Params, *, experiment: str | None = None) -> GateVerdict:
    """Judge the selected model and write `gate.json`, unless the verdict there still holds.

    Args:
        root: the checkout; also the current folder, which MLflow's local store lies below.
        params: all parameters.
        experiment: name of the DVC experiment this is part of, in which nothing is registered.

    Raises:
        GateError: no thresholds, or results that do not belong together.
        ResultCorrupt: the result of an earlier stage is missing.
    """
    rules.require_thresholds(params.gate)
    case = read_gate_inputs(root, params, experiment=experiment)
    standing = _standing(root / paths.GATE)
    if standing is not None and _settled(root, case, standing):
        return standing
    production = look_up_production(params.register_.model)
    asked = production.problem is None
    if standing is not None and asked and standing.holds(case.subject, production.opponent):
        return standing
    verdict = judge(root, case, params, production)
    write_json(root / paths.GATE, verdict.to_json())
    return verdict


def current_experiment() -> str | None:
    """Name of the DVC experiment that this process is part of."""
    return os.environ.get(EXPERIMENT) or None


def _standing(path: Path) -> GateVerdict | None:
    """The verdict that is there; None where there is none, or one that cannot be read."""
    try:
        return read_verdict(path)
    except ResultCorrupt:
        return None  # it is written again


def _settled(root: Path, case: GateInputs, standing: GateVerdict) -> bool:
    """Whether `register` noted that the registry knew this verdict, and nothing has changed since."""
    if standing.subject != case.subject:
        return False
    try:
        state = status.store_state(tracking.tracking_uri())
    except RegistryError:
        return False
    return status.is_settled(root, state, case.digest)


def main() -> None:
    """Judge what the current folder's pipeline made."""
    verdict = judge_selected(Path(), load_params(), experiment=current_experiment())
    outcome = "passed" if verdict.passed else "did not pass"
    print("\n  ".join((f"{verdict.subject.architecture} {outcome} the gate", *rules.reasons(verdict.checks))))
