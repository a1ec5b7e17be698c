"""Register the model that passed the quality gate in MLflow: `python -m pipelines.register`.

The stage always runs because DVC cannot see the content of the registry; it changes nothing if the registry
already has this file with this verdict. A rejected model is not registered; its run contains the reasons.
With a private key (MIEN_SIGNING_KEY) the version's files are signed, also if it is registered already.
The exit status is 0 for both verdicts, and 1 if MLflow cannot be used. The report needs only the verdict and
is made earlier.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from pipelines.core import paths
from pipelines.core.errors import GateError
from pipelines.core.lineage import read_lineage
from pipelines.core.params import Params, load_params
from pipelines.core.records import write_record
from pipelines.core.reference import reference_table, write_reference, write_self_test
from pipelines.core.variants import architecture_of
from pipelines.gate import rules
from pipelines.gate.evaluation import EvaluatedModel, GateInputs, evaluate, judge, read_gate_inputs
from pipelines.gate.production import look_up_production
from pipelines.gate.record import GateVerdict, read_verdict
from pipelines.gate.stage import current_experiment
from pipelines.register import package, status
from pipelines.register.history import is_marked, is_recorded, log_verdict_on_run, mark
from pipelines.register.publish import Submission, publish, version_tags, withdraw
from pipelines.register.runs import RunRef, complete_run
from pipelines.register.sign import Signer, configured_signer
from pipelines.report import model_card
from pipelines.tracking import runs as tracking
from pipelines.tracking.registry import Registry, Version
from pipelines.weights.face_model import copy_face_model
from serving.contract.faces import YUNET_FILE
from serving.signatures import SIGNED_BY


def register(root: Path, params: Params, *, experiment: str | None = None, all_runs: bool = True) -> str:
    """Register the selected model if it passed the quality gate; log the verdict to its run in both cases.

    Args:
        root: the checkout; also the current folder, which contains MLflow's local store.
        params: all parameters.
        experiment: name of the DVC experiment that this run is part of, in which nothing is registered.
        all_runs: whether the runs of all compared variants get their test metrics; otherwise only those of
            the selected architecture, the only one whose trained weights are needed.

    Returns:
        A message in one line.

    Raises:
        GateError: the verdict does not belong to the selected model.
        RegistryError: MLflow cannot be used.
        SigningError: the configured private key cannot be used.
        ResultCorrupt: the result of an earlier stage is missing.
    """
    verdict = read_verdict(root / paths.GATE)
    case = read_gate_inputs(root, params, experiment=experiment)
    if verdict.subject != case.subject:
        raise GateError(
            reason=f"{paths.GATE} does not belong to the results that are selected now",
            remedy="run `dvc repro`, which runs the gate again",
        )
    if experiment is not None:
        mark(root, verdict, params.register_.model)
        name = case.selected.architecture
        return (
            f"{name} is not registered because this run is the experiment {experiment}; "
            f"`dvc exp apply {experiment} && make run` registers it"
        )
    signer = configured_signer()
    if is_marked(root, verdict) and status.is_settled(
        root, status.store_state(tracking.tracking_uri()), _settled_case(case, signer)
    ):
        return known_summary(verdict, status.cached_version(root))
    return _update_registry(root, case, params, verdict, signer, all_runs=all_runs)


def register_variant(root: Path, params: Params, name: str) -> str:
    """Apply the quality gate to a variant that was not selected, and register it if it passes.

    `gate.json` stays the verdict on the selected model.

    Args:
        root: the checkout; also the current folder.
        params: all parameters.
        name: of a variant of the selected architecture.

    Returns:
        A message in one line.

    Raises:
        GateError: the results do not belong together.
        RegistryError: MLflow cannot be used.
        SigningError: the configured private key cannot be used.
        ResultCorrupt: the result of an earlier stage is missing.
    """
    case = read_gate_inputs(root, params, variant=name)
    verdict = judge(root, case, params, look_up_production(params.register_.model))
    registry, runs = _open(root, case, params, all_runs=False)
    if (version := registry.find(case.subject.sha256)) is None:
        _decide(root, case, registry, runs[name], verdict=verdict, signer=configured_signer())
        version = registry.find(case.subject.sha256)
    return summary(verdict, registry.name, version)


def _settled_case(case: GateInputs, signer: Signer | None) -> str:
    """What a settled registry was settled for: the case and the key that signs."""
    return case.digest if signer is None else f"{case.digest} {signer.fingerprint}"


def _update_registry(
    root: Path,
    case: GateInputs,
    params: Params,
    verdict: GateVerdict,
    signer: Signer | None,
    *,
    all_runs: bool,
) -> str:
    """Update runs and versions in the registry; return a message in one line."""
    registry, runs = _open(root, case, params, all_runs=all_runs)
    run = runs[case.selected.architecture]
    # The cache belongs to this state; read it only now, because metrics may just have been logged.
    state = status.store_state(registry.uri)
    is_old = is_recorded(verdict, registry, run.run_id) and _is_signed(registry, verdict, signer)
    if not is_old:
        _decide(root, case, registry, run, verdict=verdict, signer=signer)
        log_verdict_on_run(run.run_id, verdict, root / paths.GATE, uri=registry.uri)
        state = status.store_state(registry.uri)
    mark(root, verdict, registry.name)
    version = registry.find(case.subject.sha256)
    number, stored = (version.number, registry.stored_file(version)) if version else (None, None)
    if all_runs:
        status.cache_settled(root, state, _settled_case(case, signer), stored=stored, version=number)
    return known_summary(verdict, number) if is_old else summary(verdict, registry.name, version)


def summary(verdict: GateVerdict, model: str, version: Version | None) -> str:
    """Say in one line what was done with a verdict."""
    name = verdict.architecture
    if verdict.passed and version is not None:
        aliases = ", ".join(version.aliases) or "no alias"
        if verdict.held:
            held = "; ".join(verdict.reasons)
            return f"{name} is held: {model} version {version.number} ({aliases}): {held}"
        return f"{name} passed the quality gate: {model} version {version.number} ({aliases})"
    reasons = "; ".join(rules.reasons(verdict.checks))
    return f"{name} did not pass the quality gate and was not registered: {reasons}"


def known_summary(verdict: GateVerdict, number: int | None) -> str:
    """Describe in one line a file whose verdict the registry already has.

    Args:
        verdict: verdict of the gate.
        number: number of the file's version; None if it has none.
    """
    name = verdict.architecture
    if verdict.passed and number is not None:
        held = ", held" if verdict.held else ""
        return f"{name} is already registered as version {number}{held}"
    reasons = "; ".join(rules.reasons(verdict.checks))
    return f"{name} has already been evaluated and did not pass the quality gate: {reasons}"


def _is_signed(registry: Registry, verdict: GateVerdict, signer: Signer | None) -> bool:
    """Whether nothing is left to sign: no key is configured, or the version has its signature."""
    version = registry.find(verdict.sha256)
    if signer is None or version is None or not verdict.passed:
        return True
    return version.tags.get(SIGNED_BY) == signer.fingerprint


def _open(
    root: Path, case: GateInputs, params: Params, *, all_runs: bool
) -> tuple[Registry, dict[str, RunRef]]:
    """Connect to MLflow, and make sure that the variants' runs have their test metrics."""
    uri = tracking.connect()
    experiment_id = tracking.configure(params.register_.experiment)
    lineage = read_lineage(root)
    runs = {
        results.architecture: complete_run(root, results, lineage, uri=uri, experiment_id=experiment_id)
        for results in case.results
        if all_runs or architecture_of(results.architecture) == architecture_of(case.selected.architecture)
    }
    return Registry(params.register_.model, uri=uri), runs


def _decide(
    root: Path,
    case: GateInputs,
    registry: Registry,
    run: RunRef,
    *,
    verdict: GateVerdict,
    signer: Signer | None,
) -> None:
    if not verdict.passed:
        if (registered := registry.find(case.subject.sha256)) is not None:
            withdraw(registry, registered, verdict)
        return
    evaluated = evaluate(root, case)
    facts = model_card.read_facts(root, case.selected.architecture)
    tags = version_tags(
        verdict, case.selected, read_lineage(root), sample=facts.data.sample, restored=run.restored
    )
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
            signer=signer,
        )
        publish(registry, submission, verdict, run, tags=tags)


def _write_extras(
    root: Path, folder: Path, case: GateInputs, evaluated: EvaluatedModel, *, card: str
) -> None:
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
    write_record(folder / package.METRICS, case.selected.metrics)
    shutil.copyfile(root / paths.COMPARISON, folder / package.COMPARISON)
    face_model = root / paths.FACE_MODEL / YUNET_FILE
    if face_model.is_file():
        copy_face_model(face_model, folder)


def main() -> None:
    """Register the selected model of the current folder."""
    print(register(Path(), load_params(), experiment=current_experiment()))
