"""The drawn pictures without a face, and the comparison of their novelty, against scikit-learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pipelines.evaluate.non_faces import NON_FACES, PER_KIND, measure_novelty, non_faces
from serving.contract import Image, NoveltyOutput, preprocess
from serving.inference.onnx_classifier import OnnxClassifier
from tests.support.onnx_models import make_contract, write_model

KINDS = ("backdrops", "clouds", "textures", "shapes", "noise")


@pytest.fixture(scope="module")
def others() -> dict[str, Image]:
    return non_faces()


def test_pictures_are_the_same_again_and_all_different(others: dict[str, Image]) -> None:
    assert tuple(others) == KINDS
    again = non_faces()
    for kind, pictures in others.items():
        assert pictures.dtype == np.uint8
        assert pictures.shape == (PER_KIND, 96, 96, 3)
        np.testing.assert_array_equal(pictures, again[kind])
    rows = np.concatenate(list(others.values())).reshape(len(KINDS) * PER_KIND, -1)
    assert len(np.unique(rows, axis=0)) == len(rows) <= 300


def opened(path: Path, novelty: NoveltyOutput | None) -> OnnxClassifier:
    write_model(path, contract=replace(make_contract(side=32), novelty=novelty))
    return OnnxClassifier.open(path)


def test_scores_are_those_of_scikit_learn(others: dict[str, Image], tmp_path: Path) -> None:
    classifier = opened(tmp_path / "model.onnx", NoveltyOutput(threshold=0.5))
    spec = classifier.contract.input
    values: dict[str, np.ndarray] = {}
    for kind, pictures in others.items():
        novelty = classifier.predict(np.stack([preprocess(one, spec, face=None) for one in pictures])).novelty
        assert novelty is not None
        values[kind] = novelty
    faces = np.random.default_rng(0).uniform(0.3, 0.6, 70)
    # A tie, which counts half.
    faces[0] = values["noise"][0]
    found = measure_novelty(classifier, faces, others)
    assert found is not None
    assert (found.non_faces, found.faces, found.others) == (NON_FACES, 70, 5 * PER_KIND)
    whole = np.concatenate(list(values.values()))
    for got, part in ((found.auroc, whole), *((found.kinds[kind], values[kind]) for kind in KINDS)):
        truth = np.repeat([0, 1], [70, len(part)])
        assert got == pytest.approx(roc_auc_score(truth, np.concatenate([faces, part])), abs=1e-6)
    assert found.threshold == 0.5
    assert found.unfamiliar_faces == pytest.approx(sum(faces > 0.5) / 70, abs=1e-6)
    assert found.unfamiliar_others == pytest.approx(sum(whole > 0.5) / len(whole), abs=1e-6)


@pytest.mark.parametrize("novelty", [None, NoveltyOutput(threshold=None)], ids=["absent", "not calibrated"])
def test_nothing_is_measured_without_a_calibrated_output(
    others: dict[str, Image], tmp_path: Path, novelty: NoveltyOutput | None
) -> None:
    classifier = opened(tmp_path / "model.onnx", novelty)
    assert measure_novelty(classifier, np.zeros(3), others) is None
