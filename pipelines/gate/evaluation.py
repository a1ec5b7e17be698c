"""Evaluate the selected model and the production model, and apply the quality gate's rules.

Both models predict the same current test pictures in the same run, each with the preprocessing of its own
contract, so that a different image size, colour mode or class order does not distort the comparison. The
smoke test loads the model file as the service does and checks its outputs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipelines.core import paths
from pipelines.core.dataset import Dataset, read_dataset
from pipelines.core.errors import GateError, ModelFileError
from pipelines.core.io import sha256_of
from pipelines.core.manifest import read_manifest
from pipelines.core.params import GateParams, Params
from pipelines.core.records import as_json
from pipelines.core.reference import PROBABILITY_DIGITS, predicted_classes, self_test_images
from pipelines.core.results import Evaluation, read_comparison, read_latencies
from pipelines.core.variants import all_variants
from pipelines.gate import rules
from pipelines.gate.corruption import read_corrupted, robustness_digest
from pipelines.gate.estimates import Estimate, Measured, Pictures, measure, measure_calibration
from pipelines.gate.noninferiority import drops, mcnemar
from pipelines.gate.production import ProductionLookup, production_answers
from pipelines.gate.record import GateVerdict, Latency, Subject
from pipelines.metrics import BY_TERCILE, color_slices, tercile_slices
from pipelines.metrics.classification import Indices
from pipelines.metrics.slices import Mask
from pipelines.model.predict import open_model, predict_sources
from pipelines.register.runs import VariantResults, read_results
from serving.contract.arrays import Image
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
    for name, values in prediction.arrays().items():
        if not np.isfinite(values).all():
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
    samples: Image
    """Sample inputs of the network, uint8 [n, H, W, 3]."""


def read_gate_inputs(
    root: Path, params: Params, *, experiment: str | None = None, variant: str | None = None
) -> GateInputs:
    """Read the results of `compare` and the stages before it.

    Args:
        root: the checkout.
        params: all parameters.
        experiment: name of the DVC experiment that this run is part of.
        variant: which one is judged; None: the selected one.

    Raises:
        ResultCorrupt: a result is missing.
        ModelFileError: the selected ONNX file is missing.
        GateError: the results do not belong together.
    """
    comparison, latencies = read_comparison(root), read_latencies(root)
    name = variant or comparison.selected
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
            reason=f"{name} is to be judged, but `architectures` does not list its architecture",
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
        results=_results_digest(root, params.gate, results[name].metrics),
    )
    return GateInputs(
        results=tuple(results.values()),
        selected=results[name],
        onnx=onnx,
        subject=subject,
        digest=_digest(as_json(comparison), asdict(subject), params.register_.model_dump(),
                       [one.digest for one in results.values()]),
    )  # fmt: skip


def judge(root: Path, case: GateInputs, params: Params, lookup: ProductionLookup) -> GateVerdict:
    """Evaluate both models and apply the rules.

    Raises:
        GateError: the model was trained on a different data set.
    """
    gate, evaluated = params.gate, evaluate(root, case)
    pictures, sources = _pictures(evaluated, gate), list(evaluated.rows["source"])
    corrupted = read_corrupted(root, evaluated.rows, params, sha256=case.subject.sha256)
    production = (
        None
        if lookup.has(case.subject.sha256)
        else production_answers(
            root,
            lookup,
            sources=sources,
            classes=pictures.classes,
            corrupted=corrupted.compared(gate) if corrupted else None,
        )
    )
    predicted = [predicted_classes(evaluated.prediction, pictures.classes)]
    if production and production.predicted is not None:
        predicted.append(list(production.predicted))
    answers = [pictures.indices(one) for one in predicted]
    measured = measure(pictures, answers, samples=gate.bootstrap_samples)
    scores = measured | _calibration(evaluated, pictures, gate)
    if corrupted:
        theirs = production.corrupted if production else None
        found_corrupted = corrupted.measure(theirs, samples=gate.bootstrap_samples)
        scores |= found_corrupted
        if theirs is not None:
            measured |= found_corrupted
    candidate = rules.Candidate(
        scores={name: one.estimate for name, one in scores.items()} | attribute_gaps(case.selected.metrics),
        latency_ms=case.subject.latency.p50_ms,
        measured=str(case.subject.latency.timing),
        size_mb=case.onnx.stat().st_size / 1e6,
        smoke=smoke_test(case.onnx, evaluated.samples),
    )
    compared = _compare(pictures, answers, measured, gate) if len(answers) > 1 else None
    found = None
    if production is not None:
        found = rules.ProductionScores(
            version=production.version, compared=compared, problem=production.problem
        )
    return GateVerdict.of(
        case.subject,
        rules.judge(candidate, found, gate),
        production=None if lookup.has(case.subject.sha256) else lookup.model,
        production_known=production is None or production.reached,
        hold=gate.on_unclear == "hold",
    )


def _compare(
    pictures: Pictures, answers: Sequence[Indices], measured: Mapping[str, Measured], gate: GateParams
) -> rules.PairedComparison:
    """Compare production's predicted classes with the candidate's."""
    candidate, production = answers
    return rules.PairedComparison(
        scores={name: float(one.values[1]) for name, one in measured.items()},
        drops=drops(measured, rules.margins(measured, gate)),
        images=len(pictures.actual),
        people=pictures.people,
        mcnemar=mcnemar(pictures.actual, candidate, production),
    )


def _calibration(evaluated: EvaluatedModel, pictures: Pictures, gate: GateParams) -> dict[str, Measured]:
    """Measure the candidate's calibration if it is limited."""
    if gate.max_ece is None and gate.max_brier is None:
        return {}
    exact = np.asarray(evaluated.prediction.probabilities, dtype=np.float64)
    return measure_calibration(pictures, exact.round(PROBABILITY_DIGITS), samples=gate.bootstrap_samples)


def attribute_gaps(evaluation: Evaluation) -> dict[str, Estimate]:
    """The gap of accuracy between the groups of each attribute, as `evaluate` measured it.

    Where it has no interval, as with one person only, it may be anything.
    """
    gaps = {
        name: found.gaps["accuracy"] for name, found in (evaluation.attributes or {}).items() if found.gaps
    }
    return {
        f"attribute_gap.{name}": Estimate(
            value=gap.value,
            low=0.0 if gap.low is None else gap.low,
            high=1.0 if gap.high is None else gap.high,
        )
        for name, gap in gaps.items()
        if gap.value is not None
    }


def _pictures(evaluated: EvaluatedModel, gate: GateParams) -> Pictures:
    """Describe the test pictures."""
    rows, classes = evaluated.rows, evaluated.classifier.contract.classes
    index = {name: position for position, name in enumerate(classes)}
    return Pictures(
        classes=classes,
        actual=np.array([index[label] for label in rows["label"]], dtype=np.int64),
        groups=rows["group"].to_numpy(),
        slices=_slices(evaluated, gate),
    )


def _slices(evaluated: EvaluatedModel, gate: GateParams) -> dict[str, Mask]:
    """Slices that have enough test pictures, by name; empty if no threshold asks for slices."""
    if gate.min_slice_accuracy is None and gate.max_slice_accuracy_drop is None:
        return {}
    rows = evaluated.rows
    kinds = {name: tercile_slices(rows[name].to_numpy(np.float64)) for name in BY_TERCILE}
    kinds["mode"] = color_slices(list(rows["mode"]))
    if evaluated.classifier.contract.input.crop == "none":  # otherwise the size of the face is not recorded
        sides = np.minimum(rows["width"].to_numpy(), rows["height"].to_numpy())
        kinds["face_size"] = tercile_slices(sides.astype(np.float64))
    slices = {f"{kind}: {part}": mask for kind, parts in kinds.items() for part, mask in parts.items()}
    return {name: mask for name, mask in slices.items() if mask.sum() >= gate.slice_images}


def evaluate(root: Path, case: GateInputs) -> EvaluatedModel:
    """Predict the test pictures with the selected model.

    Raises:
        GateError: the model was trained on a different data set.
    """
    classifier = open_model(case.onnx, threads=usable_cores())
    _check_data(case.onnx, classifier, read_dataset(root / paths.DATASET))
    manifest = read_manifest(root / paths.MANIFEST)
    rows = manifest[manifest["split"] == "test"]
    return EvaluatedModel(
        classifier=classifier,
        rows=rows,
        prediction=predict_sources(classifier, list(rows["source"]), root),
        samples=self_test_images(rows, root / paths.PREPARED),
    )


def _check_data(path: Path, classifier: OnnxClassifier, dataset: Dataset) -> None:
    contract = classifier.contract
    if contract.dataset != dataset.dataset or contract.classes != dataset.classes:
        raise GateError(
            reason=f"{path} was trained on dataset {contract.dataset[:12]}, "
            f"expected {dataset.dataset[:12]}, the prepared one",
            remedy=_REMEDY,
        )


def _results_digest(root: Path, gate: GateParams, evaluation: Evaluation) -> str | None:
    """Digest of the results of earlier stages that thresholds concern; None if they concern none."""
    gaps = None if gate.max_attribute_gap is None else as_json(evaluation).get("attributes", {})
    robustness = robustness_digest(root, gate)
    return None if gaps is None and robustness is None else _digest(gaps, robustness)


def _digest(*values: object) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
