"""Evaluate the selected model and the production model, and apply the quality gate's rules.

Both models predict the same current test pictures in the same run, each with the preprocessing of its own
contract, so that a different image size, colour mode or class order does not distort the comparison. The
smoke test loads the model file as the service does and checks its outputs.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipelines.core import paths
from pipelines.core.dataset import Dataset, read_dataset
from pipelines.core.errors import GateError, ModelFileError, RegistryError
from pipelines.core.io import sha256_of
from pipelines.core.manifest import read_manifest
from pipelines.core.params import Params
from pipelines.core.records import as_json
from pipelines.core.reference import predicted_classes, self_test_images
from pipelines.core.results import read_comparison, read_latencies
from pipelines.core.variants import all_variants
from pipelines.gate import rules
from pipelines.gate.record import GateVerdict, Latency, ProductionModel, Subject
from pipelines.model.predict import open_model, predict_sources
from pipelines.register.runs import VariantResults, read_results
from pipelines.tracking.registry import MODEL_FILE, PRODUCTION, Registry, Version, look
from serving.contract.arrays import Image
from serving.contract.model import OUTPUTS
from serving.cores import usable_cores
from serving.inference.onnx_classifier import OnnxClassifier, Prediction

# As between Keras and ONNX Runtime at export (`export.tolerance`): float32 sums in a different order.
_TOLERANCE = 1e-4


def smoke_test(path: Path, images: Image) -> str | None:
    """Load a model with one thread, and predict one picture and all pictures at once.

    Args:
        path: the ONNX file.
        images: uint8 [n, H, W, 3], n ≥ 1, of the contract's size.

    Returns:
        The problem in one sentence; None if there is none.
    """
    try:
        classifier = open_model(path, threads=1)
    except ModelFileError as error:
        return f"the file does not load: {error}"
    try:
        one, many = classifier.predict(images[:1]), classifier.predict(images)
    except Exception as error:  # ONNX Runtime's exceptions have no other common base class
        return f"the file loads but prediction fails: {str(error).splitlines()[0]}"
    return _invalid(many) or _different(one, many)


def _invalid(prediction: Prediction) -> str | None:
    for name in OUTPUTS:
        if not np.isfinite(getattr(prediction, name)).all():
            return f"{name} contains values that are not finite"
    sums = prediction.probabilities.sum(axis=1)
    if np.abs(sums - 1).max() > _TOLERANCE:
        return f"probabilities sum to {sums.min():.4f}–{sums.max():.4f}, expected 1"
    low, high = prediction.heatmap.min(), prediction.heatmap.max()
    if low < 0 or high > 1:
        return f"heatmap values are in [{low:.3f}, {high:.3f}], expected [0, 1]"
    return None


def _different(one: Prediction, many: Prediction) -> str | None:
    gap = float(np.abs(one.probabilities[0] - many.probabilities[0]).max())
    if gap > _TOLERANCE:
        return (
            f"probabilities of one picture alone and in a batch differ by {gap:.2g}, "
            f"at most {_TOLERANCE:g} is allowed"
        )
    return None


_REMEDY = "run `dvc repro` to update them"


@dataclass(frozen=True, kw_only=True)
class GateInputs:
    """The selected model, and the results of the earlier stages."""

    results: tuple[VariantResults, ...]
    """Results of every compared variant."""
    selected: VariantResults
    onnx: Path
    subject: Subject
    digest: str
    """Hash of all inputs; changes if any of them changes."""


@dataclass(frozen=True, kw_only=True)
class EvaluatedModel:
    """The selected model's predictions for the test pictures."""

    classifier: OnnxClassifier
    rows: pd.DataFrame
    """Rows of the manifest, test split, in the order of `prediction`."""
    prediction: Prediction
    scores: rules.Scores
    samples: Image
    """Sample inputs of the network, uint8 [n, H, W, 3]."""


@dataclass(frozen=True, kw_only=True)
class ProductionLookup:
    """The registry's production version; the registry is only read."""

    registry: Registry | None
    version: Version | None
    problem: str | None = None
    """Why the registry could not be reached."""

    @property
    def model(self) -> ProductionModel | None:
        """The production model as recorded in a verdict; None if nothing is in production."""
        version = self.version
        return None if version is None else ProductionModel(version=version.number, sha256=version.identity)


def look_up_production(model: str) -> ProductionLookup:
    """Find the production version, without creating a store if there is none yet.

    Args:
        model: name of the registered model.
    """
    try:
        registry = look(model)
        return ProductionLookup(registry=registry, version=registry.aliased(PRODUCTION) if registry else None)
    except RegistryError as error:
        return ProductionLookup(registry=None, version=None, problem=str(error))


def read_gate_inputs(root: Path, params: Params, *, experiment: str | None = None) -> GateInputs:
    """Read the results of `compare` and the stages before it.

    Args:
        root: the checkout.
        params: all parameters.
        experiment: name of the DVC experiment that this run is part of.

    Raises:
        ResultCorrupt: a result is missing.
        ModelFileError: the selected ONNX file is missing.
        GateError: the results do not belong together.
    """
    comparison, latencies = read_comparison(root), read_latencies(root)
    name = comparison.selected
    names = all_variants(params.architectures)
    if comparison.timing != latencies.timing:
        raise GateError(
            reason=f"{paths.COMPARISON} and {paths.LATENCY} have different latencies", remedy=_REMEDY
        )
    if missing := [one for one in names if one not in latencies.models]:
        raise GateError(reason=f"{paths.LATENCY} has no latencies of {missing[0]}", remedy=_REMEDY)
    results = {one: read_results(root, one, latencies.models[one]) for one in names}
    if name not in results:
        raise GateError(
            reason=f"the comparison selected {name}, but `architectures` does not list its architecture",
            remedy=_REMEDY,
        )
    onnx = root / paths.onnx_model(name)
    if not onnx.is_file():
        raise ModelFileError(path=onnx, reason="no such file")
    sha256 = sha256_of(onnx)
    if results[name].export.sha256 != sha256:
        raise GateError(reason=f"{onnx} does not match {paths.export_record(name)}", remedy=_REMEDY)
    subject = Subject(
        architecture=name,
        sha256=sha256,
        dataset=read_dataset(root / paths.DATASET).dataset,
        thresholds=rules.thresholds_digest(params.gate),
        latency=Latency(p50_ms=results[name].latency.batch_1.p50_ms, timing=latencies.timing),
        experiment=experiment,
    )
    return GateInputs(
        results=tuple(results.values()),
        selected=results[name],
        onnx=onnx,
        subject=subject,
        digest=_digest(as_json(comparison), asdict(subject), params.register_.model_dump(),
                       [one.digest for one in results.values()]),
    )  # fmt: skip


def judge(root: Path, case: GateInputs, params: Params, production: ProductionLookup) -> GateVerdict:
    """Evaluate both models and apply the rules.

    Raises:
        GateError: the model was trained on a different data set.
    """
    evaluated = evaluate(root, case)
    candidate = rules.Candidate(
        scores=evaluated.scores,
        latency_ms=case.subject.latency.p50_ms,
        measured=str(case.subject.latency.timing),
        size_mb=case.onnx.stat().st_size / 1e6,
        smoke=smoke_test(case.onnx, evaluated.samples),
    )
    found, problem = _production_scores(root, case, evaluated, production)
    return GateVerdict.of(
        case.subject,
        rules.judge(candidate, found, params.gate),
        production=None if _is_itself(case, production) else production.model,
        production_known=problem is None,
    )


def evaluate(root: Path, case: GateInputs) -> EvaluatedModel:
    """Predict the test pictures with the selected model.

    Raises:
        GateError: the model was trained on a different data set.
    """
    classifier = open_model(case.onnx, threads=usable_cores())
    _check_data(case.onnx, classifier, read_dataset(root / paths.DATASET))
    manifest = read_manifest(root / paths.MANIFEST)
    rows = manifest[manifest["split"] == "test"]
    prediction = predict_sources(classifier, list(rows["source"]), root)
    classes = classifier.contract.classes
    return EvaluatedModel(
        classifier=classifier,
        rows=rows,
        prediction=prediction,
        scores=rules.score(list(rows["label"]), predicted_classes(prediction, classes), classes),
        samples=self_test_images(rows, root / paths.PREPARED),
    )


def _production_scores(
    root: Path, case: GateInputs, evaluated: EvaluatedModel, production: ProductionLookup
) -> tuple[rules.ProductionScores | None, str | None]:
    """Return the scores to compare with, and why the registry or its files could not be reached."""
    registry, version, problem = production.registry, production.version, production.problem
    if problem is None and registry is not None and version is not None:
        if _is_itself(case, production):
            return None, None
        try:
            return _evaluate_production(root, evaluated, registry, version), None
        except RegistryError as error:
            problem = str(error)
    if problem is None:
        return None, None
    message = f"the production model is unknown, so a comparison is not possible: {problem}"
    return rules.ProductionScores(version=None, scores=None, problem=message), problem


def _is_itself(case: GateInputs, production: ProductionLookup) -> bool:
    """Whether the selected file is already in production, so that there is no other model to compare with."""
    return production.version is not None and production.version.sha256 == case.subject.sha256


def _evaluate_production(
    root: Path, evaluated: EvaluatedModel, registry: Registry, version: Version
) -> rules.ProductionScores:
    wanted = evaluated.classifier.contract.classes
    with registry.downloaded(version) as folder:
        try:
            classifier = open_model(folder / MODEL_FILE, threads=usable_cores())
        except ModelFileError as error:
            return _unusable(version, f"cannot be loaded ({error})")
        theirs = classifier.contract.classes
        if set(theirs) != set(wanted):
            return _unusable(version, f"has different classes ({', '.join(theirs)})")
        prediction = predict_sources(classifier, list(evaluated.rows["source"]), root)
    # By name, because the two models may have a different class order.
    scores = rules.score(list(evaluated.rows["label"]), predicted_classes(prediction, theirs), wanted)
    return rules.ProductionScores(version=version.number, scores=scores)


def _unusable(version: Version, why: str) -> rules.ProductionScores:
    return rules.ProductionScores(
        version=version.number,
        scores=None,
        problem=f"production (version {version.number}) {why}, so a comparison is not possible: "
        f"promote another version, remove the alias {PRODUCTION}, or register under another name",
    )


def _check_data(path: Path, classifier: OnnxClassifier, dataset: Dataset) -> None:
    contract = classifier.contract
    if contract.dataset != dataset.dataset or contract.classes != dataset.classes:
        raise GateError(
            reason=f"{path} was trained on dataset {contract.dataset[:12]}, "
            f"expected {dataset.dataset[:12]}, the prepared one",
            remedy=_REMEDY,
        )


def _digest(*values: object) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
