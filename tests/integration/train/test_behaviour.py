"""How a trained network answers changed pictures: what should not matter does not, what hides the face does.

Ribeiro et al., 2020, "Beyond accuracy: Behavioral testing of NLP models with CheckList": invariance tests and
directional expectation tests. LeNet learns a small drawn sample, which takes about 20 s.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.core.params import AugmentationParams, HeadParams, ModelParams, load_params
from pipelines.model.keras_classifier import build_classifier
from pipelines.train import loop
from pipelines.train.input import Split
from pipelines.train.schedule import plan_phases
from sample_faces.action_units import CLASSES
from sample_faces.dataset import SampleSpec, draw_image, plan_shots
from tests.support.training_project import REPOSITORY

SIDE_PX = 48
SPEC = SampleSpec(per_class=170, seed=20, size_px=SIDE_PX)
TEST = SampleSpec(per_class=30, seed=20, size_px=SIDE_PX, identities=(5000, 5100))
Pictures = NDArray[np.uint8]


def drawn(spec: SampleSpec) -> Split:
    shots = plan_shots(spec)
    images = np.stack([draw_image(spec, shot, intensity=0.9) for shot in shots])
    return Split(images=images, labels=np.array([CLASSES.index(shot.label) for shot in shots]))


class _Silent:
    def before_first_epoch(self, state: Any) -> None: ...

    def after_epoch(self, state: Any, *, images_per_second: float) -> None: ...


@pytest.fixture(scope="module")
def test_pictures() -> Split:
    """Pictures of people who are not in the training pictures."""
    return drawn(TEST)


@pytest.fixture(scope="module")
def answer(test_pictures: Split) -> Callable[[Pictures], NDArray[np.float64]]:
    """Probabilities of a trained LeNet, [n, classes]."""
    training = load_params(REPOSITORY / "params.yaml").training
    model = ModelParams(epochs=20, learning_rate=2e-3)
    strategy = loop.set_up(training, seed=20)
    classifier = build_classifier(
        "lenet",
        model,
        head=HeadParams(hidden=[64], dropout=0.2),
        height=SIDE_PX,
        width=SIDE_PX,
        classes=len(CLASSES),
    )
    pictures = drawn(SPEC)
    loop.train(
        classifier,
        loop.Data(train=pictures, val=test_pictures, classes=len(CLASSES)),
        settings=loop.Settings(
            phases=plan_phases(model, origin="scratch"),
            training=training,
            augmentation=AugmentationParams(flip=True, rotation=0.03, zoom=0.1, shift=0.06),
            seed=20,
        ),
        strategy=strategy,
        listener=_Silent(),
    )

    def probabilities(images: Pictures) -> NDArray[np.float64]:
        logits = np.asarray(classifier.model.predict(images, verbose=0), np.float64)
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))

    return probabilities


def times(factor: float) -> Callable[[Pictures], Pictures]:
    return lambda images: np.clip(np.rint(images * factor), 0, 255).astype(np.uint8)


def mirrored(images: Pictures) -> Pictures:
    return np.ascontiguousarray(images[:, :, ::-1])


def as_jpeg(images: Pictures) -> Pictures:
    encoded = [cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1] for image in images]
    return np.stack([np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8) for data in encoded])


def blurred(images: Pictures) -> Pictures:
    return np.stack([np.asarray(cv2.GaussianBlur(image, (0, 0), 3.0), np.uint8) for image in images])


def test_it_learned(answer: Callable[[Pictures], NDArray[np.float64]], test_pictures: Split) -> None:
    right = answer(test_pictures.images).argmax(axis=1) == test_pictures.labels
    assert right.mean() > 0.6


@pytest.mark.parametrize(
    "change",
    [times(0.9), times(1.1), mirrored, as_jpeg],
    ids=["darker", "brighter", "mirrored", "JPEG quality 60"],
)
def test_what_says_nothing_about_the_expression_changes_few_answers(
    answer: Callable[[Pictures], NDArray[np.float64]],
    test_pictures: Split,
    change: Callable[[Pictures], Pictures],
) -> None:
    before, after = answer(test_pictures.images), answer(change(test_pictures.images))
    is_clear = before.max(axis=1) > 0.6
    same = before.argmax(axis=1) == after.argmax(axis=1)
    assert is_clear.sum() > 50
    assert same[is_clear].mean() > 0.9


def test_blur_lowers_confidence_and_accuracy(
    answer: Callable[[Pictures], NDArray[np.float64]], test_pictures: Split
) -> None:
    before, after = answer(test_pictures.images), answer(blurred(test_pictures.images))
    assert after.max(axis=1).mean() < before.max(axis=1).mean()
    hits = [
        (probabilities.argmax(axis=1) == test_pictures.labels).mean() for probabilities in (before, after)
    ]
    assert hits[1] < hits[0]
