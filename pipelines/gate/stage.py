"""Run the quality gate on the selected model: `python -m pipelines.gate`.

Takes some seconds (a minute with 100,000 test pictures), or about one second if nothing has changed. The
stage always runs because the production model, which the selected model is compared with, is in MLflow's
registry, outside DVC's control. The registry is only read; `pipelines.register` publishes. If the registry
cannot be reached, the other checks run and the comparison counts as failed, so that the report is always
written. The exit status is 0 for all verdicts; `pipelines.verdict` fails if the model was rejected.
"""

from __future__ import annotations

import os
from pathlib import Path

from pipelines.core import paths
from pipelines.core.errors import RegistryError, ResultCorrupt
from pipelines.core.params import Params, load_params
from pipelines.core.records import write_record
from pipelines.gate import rules
from pipelines.gate.evaluation import GateInputs, judge, read_gate_inputs
from pipelines.gate.production import look_up_production
from pipelines.gate.record import GateVerdict, read_verdict
from pipelines.register import status
from pipelines.tracking import runs as tracking

EXPERIMENT = "DVC_EXP_NAME"
"""Set by DVC for the commands of `dvc exp run`."""


def judge_selected(root: Path, params: Params, *, experiment: str | None = None) -> GateVerdict:
    """Apply the gate to the selected model and write `gate.json`, unless the existing verdict is valid.

    Args:
        root: the checkout; also the current folder, which contains MLflow's local store.
        params: all parameters.
        experiment: name of the DVC experiment that this run is part of, in which nothing is registered.

    Raises:
        GateError: no threshold is set, or results contradict each other.
        ResultCorrupt: the result of an earlier stage is missing.
    """
    rules.require_thresholds(params.gate)
    case = read_gate_inputs(root, params, experiment=experiment)
    existing = _existing_verdict(root / paths.GATE)
    if existing is not None and _is_settled(root, case, existing):
        return existing
    production = look_up_production(params.register_.model)
    reached = production.problem is None
    if existing is not None and reached and existing.holds(case.subject, production.model):
        return existing
    verdict = judge(root, case, params, production)
    write_record(root / paths.GATE, verdict)
    return verdict


def current_experiment() -> str | None:
    """Return the name of the DVC experiment that this process is part of; None outside an experiment."""
    return os.environ.get(EXPERIMENT) or None


def _existing_verdict(path: Path) -> GateVerdict | None:
    """Read the existing verdict; None if there is none or it cannot be read."""
    try:
        return read_verdict(path)
    except ResultCorrupt:
        return None  # the file is written again


def _is_settled(root: Path, case: GateInputs, existing: GateVerdict) -> bool:
    """Whether `register` cached that the registry has this verdict, and nothing has changed since."""
    if existing.subject != case.subject:
        return False
    try:
        state = status.store_state(tracking.tracking_uri())
    except RegistryError:
        return False
    return status.is_settled(root, state, case.digest)


def main() -> None:
    """Apply the gate to the results in the current folder."""
    verdict = judge_selected(Path(), load_params(), experiment=current_experiment())
    outcome = {"passed": "passed", "held": "is held by", "failed": "did not pass"}[verdict.outcome]
    print("\n  ".join((f"{verdict.architecture} {outcome} the quality gate", *verdict.reasons)))
