"""Bring a case before the gate: read it, evaluate both models on the same pictures, judge.

The selected model and the production model answer to the same current test pictures in the same run, each
through its own contract, so that a change of image size, colour or class order compares fairly.

Load a model file as the service does and ask it something.
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
from pipelines.core.io import read_record, sha256_of
from pipelines.core.manifest import read_manifest
from pipelines.core.params import Params
from pipelines.core.reference import predicted_classes, self_test_images
from pipelines.core.variants import all_variants
from pipelines.evaluate.timing import TIMING_KEYS, Timing
from pipelines.gate import rules
from pipelines.gate.record import GateVerdict, Latency, ProductionModel, Subject
from pipelines.model.predict import open_model, predict_sources
from pipelines.register.runs import VariantResults, read_results
from pipelines.tracking.registry import MODEL_FILE, PRODUCTION, Registry, Version, look
from serving.contract.arrays import Image
from serving.contract.model import OUTPUTS
from serving.cores import usable_cores
from serving.inference.onnx_classifier import OnnxClassifier, Prediction

# The same as between Keras and ONNX Runtime at export (`export.tolerance`): float32 sums in another order.
_TOLERANCE = 1e-4


def smoke_test(path: Path, images: Image) -> str | None:
    """Load with one thread, predict one picture and all of them at once.

    Args:
        path: of the ONNX file.
        images: uint8 [n, H, W, 3], n ≥ 1, of the contract's size.

    Returns:
        What went wrong, in one sentence; None if nothing did.
    """
    try:
        classifier = open_model(path, threads=1)
    except ModelFileError as error:
        return f"the file does not load: {error}"
    try:
        one, many = classifier.predict(images[:1]), classifier.predict(images)
    except Exception as error:  # ONNX Runtime's exceptions share no other base
        return f"the file loads but does not answer: {str(error).splitlines()[0]}"
    return _invalid(many) or _different(one, many)


def _invalid(prediction: Prediction) -> str | None:
    for name in OUTPUTS:
        if not np.isfinite(getattr(prediction, name)).all():
            return f"{name} holds values that are not finite"
    sums = prediction.probabilities.sum(axis=1)
    if np.abs(sums - 1).max() > _TOLERANCE:
        return f"probabilities sum to {sums.min():.4f}–{sums.max():.4f}, expected 1"
    low, high = prediction.heatmap.min(), prediction.heatmap.max()
    if low < 0 or high > 1:
        return f"heatmap lies in [{low:.3f}, {high:.3f}], expected [0, 1]"
    return None


def _different(one: Prediction, many: Prediction) -> str | None:
    gap = float(np.abs(one.probabilities[0] - many.probabilities[0]).max())
    if gap > _TOLERANCE:
        return f"one picture alone and in a batch differ by {gap:.2g}, at most {_TOLERANCE:g} is allowed"
    return None


_REMEDY = "run `dvc repro`, which makes what is stale"


@dataclass(frozen=True, kw_only=True)
class GateInputs:
    """Which model wants to be registered, and what the stages before say of it."""

    results: tuple[VariantResults, ...]
    """Of every variant that was compared."""
    selected: VariantResults
    onnx: Path
    subject: Subject
    digest: str
    """Changes with anything the case consists of."""


@dataclass(frozen=True, kw_only=True)
class EvaluatedModel:
    """The selected model's answers to the test pictures."""

    classifier: OnnxClassifier
    rows: pd.DataFrame
    """Of the manifest, test split, in the order of `prediction`."""
    prediction: Prediction
    scores: rules.Scores
    samples: Image
    """A few inputs of the network, uint8 [n, H, W, 3]."""


@dataclass(frozen=True, kw_only=True)
class ProductionLookup:
    """What the registry has in production; it is only read."""

    registry: Registry | None
    version: Version | None
    problem: str | None = None
    """Why the registry could not be asked."""

    @property
    def opponent(self) -> ProductionModel | None:
        """The version, as a verdict names it."""
        version = self.version
        return None if version is None else ProductionModel(version=version.number, sha256=version.identity)


def look_up_production(model: str) -> ProductionLookup:
    """Look what is in production; where there is no store yet, none is made.

    Args:
        model: its name in the registry.
    """
    try:
        registry = look(model)
        return ProductionLookup(registry=registry, version=registry.aliased(PRODUCTION) if registry else None)
    except RegistryError as error:
        return ProductionLookup(registry=None, version=None, problem=str(error))


def read_gate_inputs(root: Path, params: Params, *, experiment: str | None = None) -> GateInputs:
    """Read what `compare` and the stages before it wrote.

    Args:
        root: the checkout.
        params: all parameters.
        experiment: name of the DVC experiment this is part of.

    Raises:
        ResultCorrupt: a result is missing.
        ModelFileError: the selected ONNX file is missing.
        GateError: the results do not belong together.
    """
    comparison = read_record(root / paths.COMPARISON, keys=("selected", "rows", "timing"), stage="compare")
    latency = read_record(root / paths.LATENCY, keys=("models", *TIMING_KEYS), stage="latency")
    name = comparison["selected"]
    names = all_variants(params.architectures)
    if comparison["timing"] != latency["timing"]:
        raise GateError(reason=f"{paths.COMPARISON} has other times than {paths.LATENCY}", remedy=_REMEDY)
    results = {one: read_results(root, one, latency["models"].get(one, {})) for one in names}
    if name not in results:
        raise GateError(
            reason=f"the comparison selected {name}, whose architecture `architectures` does not list",
            remedy=_REMEDY,
        )
    onnx = root / paths.onnx_model(name)
    if not onnx.is_file():
        raise ModelFileError(path=onnx, reason="no such file")
    sha256 = sha256_of(onnx)
    if results[name].export["sha256"] != sha256:
        raise GateError(
            reason=f"{onnx} is not the file that {paths.export_record(name)} describes", remedy=_REMEDY
        )
    if "batch_1" not in results[name].latency:
        raise GateError(reason=f"{paths.LATENCY} has no figures for {name}", remedy=_REMEDY)
    subject = Subject(
        architecture=name,
        sha256=sha256,
        dataset=read_dataset(root / paths.DATASET).dataset,
        thresholds=rules.thresholds_digest(params.gate),
        latency=Latency(
            p50_ms=float(results[name].latency["batch_1"]["p50_ms"]),
            timing=Timing.from_json(latency["timing"]),
        ),
        experiment=experiment,
    )
    return GateInputs(
        results=tuple(results.values()),
        selected=results[name],
        onnx=onnx,
        subject=subject,
        digest=_digest(comparison, asdict(subject), params.register_.model_dump(),
                       [one.digest for one in results.values()]),
    )  # fmt: skip


def judge(root: Path, case: GateInputs, params: Params, production: ProductionLookup) -> GateVerdict:
    """Evaluate both models and judge.

    Raises:
        GateError: the model was made from other data than there is now.
    """
    evaluated = evaluate(root, case)
    candidate = rules.Candidate(
        scores=evaluated.scores,
        latency_ms=case.subject.latency.p50_ms,
        measured=str(case.subject.latency.timing),
        size_mb=case.onnx.stat().st_size / 1e6,
        smoke=smoke_test(case.onnx, evaluated.samples),
    )
    found, problem = _opponent(root, case, evaluated, production)
    return GateVerdict(
        subject=case.subject,
        checks=rules.judge(candidate, found, params.gate),
        production=None if _is_itself(case, production) else production.opponent,
        production_known=problem is None,
    )


def evaluate(root: Path, case: GateInputs) -> EvaluatedModel:
    """Ask the selected model about the test pictures.

    Raises:
        GateError: it was made from other data than there is now.
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


def _opponent(
    root: Path, case: GateInputs, evaluated: EvaluatedModel, production: ProductionLookup
) -> tuple[rules.ProductionScores | None, str | None]:
    """What is compared with, and why the registry or its files could not be reached."""
    registry, version, problem = production.registry, production.version, production.problem
    if problem is None and registry is not None and version is not None:
        if _is_itself(case, production):
            return None, None
        try:
            return _answers(root, evaluated, registry, version), None
        except RegistryError as error:
            problem = str(error)
    if problem is None:
        return None, None
    said = f"the model in production is not known, so that nothing can be compared: {problem}"
    return rules.ProductionScores(version=None, scores=None, problem=said), problem


def _is_itself(case: GateInputs, production: ProductionLookup) -> bool:
    """Whether the selected file is in production already, so that there is nothing to compare it with."""
    return production.version is not None and production.version.sha256 == case.subject.sha256


def _answers(
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
            return _unusable(version, f"knows other classes ({', '.join(theirs)})")
        prediction = predict_sources(classifier, list(evaluated.rows["source"]), root)
    # By name: the two models may keep their classes in different order.
    scores = rules.score(list(evaluated.rows["label"]), predicted_classes(prediction, theirs), wanted)
    return rules.ProductionScores(version=version.number, scores=scores)


def _unusable(version: Version, why: str) -> rules.ProductionScores:
    return rules.ProductionScores(
        version=version.number,
        scores=None,
        problem=f"production (version {version.number}) {why}, so that nothing can be compared: "
        f"promote another version, remove the alias {PRODUCTION}, or register under another name",
    )


def _check_data(path: Path, classifier: OnnxClassifier, dataset: Dataset) -> None:
    contract = classifier.contract
    if contract.dataset != dataset.dataset or contract.classes != dataset.classes:
        raise GateError(
            reason=f"{path} comes from dataset {contract.dataset[:12]}, now there is {dataset.dataset[:12]}",
            remedy=_REMEDY,
        )


def _digest(*values: object) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
