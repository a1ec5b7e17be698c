"""The gate, then the registry: `python -m pipelines.register`.

It always runs, since only the registry knows what it holds, and changes nothing when that is this file,
judged by these thresholds against this production model. Exits with 0 whatever the verdict;
`pipelines.verdict` fails on it later, so that the report is written either way.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines import gate, layout, model_card, tracking
from pipelines.files import read_json, write_json, write_text
from pipelines.lineage import read_lineage
from pipelines.params import Params, load_params
from pipelines.reference import reference_table, write_reference, write_self_test
from pipelines.registration import memo, package
from pipelines.registration.judging import Case, Evaluated, judge, read_case
from pipelines.registration.publish import Submission, Verdict, publish, version_tags, withdraw
from pipelines.registration.recorded import note_on_run, recall, report
from pipelines.registration.runs import RunRef, complete_run
from pipelines.registry import Registry, Version
from pipelines.stage import run_stage

EXPERIMENT = "DVC_EXP_NAME"
"""Set by DVC for the commands of `dvc exp run`."""


def register(root: Path, params: Params, *, experiment: str | None = None) -> str:
    """Judge the selected model, and register it if it passes.

    Args:
        root: the checkout; also the current folder, which MLflow's local store lies below.
        params: all parameters.
        experiment: name of the DVC experiment this is part of, in which nothing is registered.

    Returns:
        What happened, in one line.

    Raises:
        GateError: no thresholds, or results that do not belong together.
        RegistryError: MLflow cannot be used.
        ResultCorrupt: the result of an earlier stage is missing.
    """
    gate.require_thresholds(params.gate)
    case = read_case(root, params)
    state = memo.store_state(tracking.tracking_uri())
    if experiment is None and memo.settled(root, state, case.digest):
        return known(read_json(root / layout.GATE))
    registry, runs = _open(root, case, params)
    run = runs[case.selected.architecture]
    if experiment is None and _keep(root, case, registry, run, state=state):
        return known(read_json(root / layout.GATE))
    verdict, evaluated = judge(root, case, params, registry)
    version = None if experiment else _decide(root, case, registry, run, verdict=verdict, evaluated=evaluated)
    said = report(case, verdict, registry, version, experiment=experiment)
    write_json(root / layout.GATE, said)
    if experiment is None:
        note_on_run(run.run_id, verdict, root / layout.GATE, uri=registry.uri)
        # Asked once more, so that the next run need not ask.
        _keep(root, case, registry, run, state=memo.store_state(registry.uri))
    return summary(said)


def summary(said: Mapping[str, Any]) -> str:
    """What `gate.json` says, in one line."""
    name, registered = said["architecture"], said["registered"]
    if registered:
        aliases = ", ".join(registered["aliases"])
        return f"{name} passed the gate: {registered['model']} version {registered['version']} ({aliases})"
    outcome = "passed" if said["passed"] else "did not pass"
    return f"{name} {outcome} the gate and was not registered: {'; '.join(said['reasons'])}"


def known(said: Mapping[str, Any]) -> str:
    """What `gate.json` says of a file that was judged before, in one line."""
    name, registered = said["architecture"], said["registered"]
    if registered:
        return f"{name} is already registered as version {registered['version']}"
    return f"{name} was judged before and did not pass the gate: {'; '.join(said['reasons'])}"


def _open(root: Path, case: Case, params: Params) -> tuple[Registry, dict[str, RunRef]]:
    """Connect, and see to it that every variant's run has its test metrics."""
    uri = tracking.connect()
    experiment_id = tracking.configure(params.register_.experiment)
    lineage = read_lineage(root)
    runs = {
        results.architecture: complete_run(root, results, lineage, uri=uri, experiment_id=experiment_id)
        for results in case.results
    }
    return Registry(params.register_.model, uri=uri), runs


def _keep(root: Path, case: Case, registry: Registry, run: RunRef, *, state: memo.State | None) -> bool:
    """Whether the registry knows the case; then `gate.json` says what it said, and a note is taken of it.

    Args:
        root: the checkout.
        case: that is brought.
        registry: that is asked.
        run: of the selected model.
        state: of the registry's store, from before it was asked.
    """
    path = root / layout.GATE
    text = recall(case, registry, run.run_id, path)
    if text is None:
        return False
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
    version = registry.find(case.sha256)
    memo.remember(root, state, case.digest, stored=registry.stored_file(version) if version else None)
    return True


def _decide(
    root: Path, case: Case, registry: Registry, run: RunRef, *, verdict: Verdict, evaluated: Evaluated
) -> Version | None:
    if not verdict.passed:
        if (standing := registry.find(case.sha256)) is not None:
            withdraw(registry, standing, verdict)
        return None
    tags = version_tags(verdict, case.selected, read_lineage(root), restored=run.restored)
    facts = model_card.read_facts(root, case.selected.architecture)
    with tempfile.TemporaryDirectory(prefix="mien-extras-") as folder:
        extras = Path(folder)
        _write_extras(root, extras, case, evaluated, card=model_card.render(facts))
        submission = Submission(
            onnx=case.onnx,
            contract=evaluated.classifier.contract,
            embedding=evaluated.prediction.embedding.shape[1],
            example=evaluated.samples[:1],
            extras=extras,
            card=model_card.render_short(facts),
        )
        return publish(registry, submission, verdict, run, tags=tags)


def _write_extras(root: Path, folder: Path, case: Case, evaluated: Evaluated, *, card: str) -> None:
    classifier = evaluated.classifier
    (folder / package.CARD).write_text(card, encoding="utf-8")
    write_reference(
        folder / package.REFERENCE,
        reference_table(
            evaluated.rows,
            evaluated.prediction,
            classifier.contract.classes,
            whole=classifier.contract.input.crop == "none",
        ),
    )
    write_self_test(folder / package.SELF_TEST, classifier, evaluated.samples)
    write_json(folder / package.METRICS, case.selected.metrics)
    shutil.copyfile(root / layout.COMPARISON, folder / package.COMPARISON)


def main() -> None:
    """Register what the current folder's pipeline made."""
    print(register(Path(), load_params(), experiment=os.environ.get(EXPERIMENT) or None))


if __name__ == "__main__":
    run_stage(main)
