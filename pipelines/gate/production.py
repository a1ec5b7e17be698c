"""The model in production, and its answers to the candidate's test pictures. The registry is only read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipelines.core.errors import ModelFileError, RegistryError
from pipelines.core.reference import predicted_classes
from pipelines.gate.record import ProductionModel
from pipelines.metrics.classification import Floats
from pipelines.model.predict import open_model, predict_sources
from pipelines.robustness.pictures import predict_corrupted, right_share
from pipelines.tracking.registry import MODEL_FILE, PRODUCTION, Registry, Version, look
from serving.cores import usable_cores


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

    def has(self, sha256: str) -> bool:
        """Whether this file is the one in production, with which it is not compared."""
        return self.version is not None and self.version.sha256 == sha256


@dataclass(frozen=True, kw_only=True)
class ProductionAnswers:
    """What the production model says of the test pictures."""

    version: int | None
    """None if the registry could not be reached."""
    predicted: Sequence[str] | None
    """Most probable class of each picture; None if a comparison is not possible."""
    corrupted: Floats | None = None
    """Share of each corrupted picture's versions that are answered right, float64 [n]; None if not asked."""
    problem: str | None = None
    """Why a comparison is not possible."""
    reached: bool = True
    """Whether the registry and its files could be reached."""


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


def production_answers(
    root: Path,
    lookup: ProductionLookup,
    *,
    sources: Sequence[str],
    classes: Sequence[str],
    corrupted: pd.DataFrame | None = None,
) -> ProductionAnswers | None:
    """Let the production model predict the test pictures.

    Args:
        root: the checkout.
        lookup: result of `look_up_production`.
        sources: the pictures, as in the manifest.
        classes: of the candidate, in any order.
        corrupted: pictures that it also answers corrupted, rows of the manifest; None: none.

    Returns:
        Its answers, or why there are none; None if nothing is in production.
    """
    if lookup.problem is not None:
        return _unreachable(lookup.problem)
    if lookup.registry is None or lookup.version is None:
        return None
    try:
        with lookup.registry.downloaded(lookup.version) as folder:
            return _answers(
                root, folder, lookup.version, sources=sources, classes=classes, corrupted=corrupted
            )
    except RegistryError as error:
        return _unreachable(str(error))


def _answers(
    root: Path,
    folder: Path,
    version: Version,
    *,
    sources: Sequence[str],
    classes: Sequence[str],
    corrupted: pd.DataFrame | None,
) -> ProductionAnswers:
    try:
        classifier = open_model(folder / MODEL_FILE, threads=usable_cores())
    except ModelFileError as error:
        return _unusable(version, f"cannot be loaded ({error})")
    theirs = classifier.contract.classes
    if set(theirs) != set(classes):
        return _unusable(version, f"has different classes ({', '.join(theirs)})")
    prediction = predict_sources(classifier, sources, root)
    shares = None
    if corrupted is not None:
        answers = predict_corrupted(classifier, list(corrupted["source"]), root)
        shares = right_share(answers, list(corrupted["label"]), theirs)
    # By name, because the two models may have a different class order.
    return ProductionAnswers(
        version=version.number, predicted=predicted_classes(prediction, theirs), corrupted=shares
    )


def _unreachable(problem: str) -> ProductionAnswers:
    message = f"the production model is unknown, so a comparison is not possible: {problem}"
    return ProductionAnswers(version=None, predicted=None, problem=message, reached=False)


def _unusable(version: Version, why: str) -> ProductionAnswers:
    return ProductionAnswers(
        version=version.number,
        predicted=None,
        problem=f"production (version {version.number}) {why}, so a comparison is not possible: "
        f"promote another version, remove the alias {PRODUCTION}, or register under another name",
    )
