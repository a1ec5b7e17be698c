"""Bring a case before the gate: read it, evaluate both models on the same pictures, judge.

The selected model and the production model answer to the same current test pictures in the same run, each
through its own contract, so that a change of image size, colour or class order compares fairly.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipelines import gate, layout
from pipelines.dataset import Dataset, read_dataset
from pipelines.errors import GateError, ModelFileError
from pipelines.files import sha256_of
from pipelines.inference import open_model, predict_sources
from pipelines.manifest import read_manifest
from pipelines.params import Params
from pipelines.records import read_record
from pipelines.reference import predicted_classes, self_test_images
from pipelines.registration.publish import Verdict
from pipelines.registration.runs import Results, read_results
from pipelines.registration.smoke import smoke
from pipelines.registry import MODEL_FILE, PRODUCTION, Registry, Version
from pipelines.variants import all_variants
from serving.contract.arrays import Image
from serving.cores import usable_cores
from serving.inference import OnnxClassifier, Prediction

_REMEDY = "run `dvc repro`, which makes what is stale"


@dataclass(frozen=True, kw_only=True)
class Case:
    """Which model wants to be registered, and what the stages before say of it."""

    results: tuple[Results, ...]
    """Of every variant that was compared."""
    selected: Results
    onnx: Path
    sha256: str
    """Of that file."""
    latency_ms: float
    """p50 at batch 1, one thread."""
    thresholds: str
    """Their digest."""
    digest: str
    """Changes with anything the case consists of."""


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """The selected model's answers to the test pictures."""

    classifier: OnnxClassifier
    rows: pd.DataFrame
    """Of the manifest, test split, in the order of `prediction`."""
    prediction: Prediction
    scores: gate.Scores
    samples: Image
    """A few inputs of the network, uint8 [n, H, W, 3]."""


def read_case(root: Path, params: Params) -> Case:
    """Read what `compare` and the stages before it wrote.

    Raises:
        ResultCorrupt: a result is missing.
        ModelFileError: the selected ONNX file is missing.
        GateError: the results do not belong together.
    """
    comparison = read_record(root / layout.COMPARISON, keys=("selected", "rows"), stage="compare")
    latency = read_record(root / layout.LATENCY, keys=("models",), stage="latency")
    name = comparison["selected"]
    names = all_variants(params.architectures)
    results = {one: read_results(root, one, latency["models"].get(one, {})) for one in names}
    if name not in results:
        raise GateError(
            reason=f"the comparison selected {name}, whose architecture `architectures` does not list",
            remedy=_REMEDY,
        )
    onnx = root / layout.onnx_model(name)
    if not onnx.is_file():
        raise ModelFileError(path=onnx, reason="no such file")
    sha256 = sha256_of(onnx)
    if results[name].export["sha256"] != sha256:
        raise GateError(
            reason=f"{onnx} is not the file that {layout.export_record(name)} describes", remedy=_REMEDY
        )
    if "batch_1" not in results[name].latency:
        raise GateError(reason=f"{layout.LATENCY} has no figures for {name}", remedy=_REMEDY)
    thresholds = gate.thresholds_digest(params.gate)
    return Case(
        results=tuple(results.values()),
        selected=results[name],
        onnx=onnx,
        sha256=sha256,
        latency_ms=float(results[name].latency["batch_1"]["p50_ms"]),
        thresholds=thresholds,
        digest=_digest(comparison, latency, sha256, thresholds, params.register_.model_dump(),
                       [one.digest for one in results.values()]),
    )  # fmt: skip


def judge(root: Path, case: Case, params: Params, registry: Registry) -> tuple[Verdict, Evaluated]:
    """Evaluate and judge.

    Raises:
        GateError: the model was made from other data than there is now.
        RegistryError: the production model cannot be fetched.
    """
    evaluated = _evaluate(root, case)
    production = registry.aliased(PRODUCTION)
    verdict = Verdict(
        sha256=case.sha256,
        checks=gate.judge(
            gate.Candidate(
                scores=evaluated.scores,
                latency_ms=case.latency_ms,
                size_mb=case.onnx.stat().st_size / 1e6,
                smoke=smoke(case.onnx, evaluated.samples),
            ),
            _opponent(root, case, evaluated, registry, production) if production else None,
            params.gate,
        ),
        thresholds=case.thresholds,
        production=(production.number, production.identity) if production else None,
    )
    return verdict, evaluated


def _evaluate(root: Path, case: Case) -> Evaluated:
    classifier = open_model(case.onnx, threads=usable_cores())
    _check_data(case.onnx, classifier, read_dataset(root / layout.DATASET))
    manifest = read_manifest(root / layout.MANIFEST)
    rows = manifest[manifest["split"] == "test"]
    prediction = predict_sources(classifier, list(rows["source"]), root)
    classes = classifier.contract.classes
    return Evaluated(
        classifier=classifier,
        rows=rows,
        prediction=prediction,
        scores=gate.score(list(rows["label"]), predicted_classes(prediction, classes), classes),
        samples=self_test_images(rows, root / layout.PREPARED),
    )


def _opponent(
    root: Path, case: Case, evaluated: Evaluated, registry: Registry, version: Version
) -> gate.Production:
    if version.sha256 == case.sha256:
        return gate.Production(version=version.number, scores=evaluated.scores)
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
    scores = gate.score(list(evaluated.rows["label"]), predicted_classes(prediction, theirs), wanted)
    return gate.Production(version=version.number, scores=scores)


def _unusable(version: Version, why: str) -> gate.Production:
    return gate.Production(
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
