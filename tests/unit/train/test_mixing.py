"""Mixup and CutMix against hand-made batches and against the loss they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.core.params import AugmentationParams
from pipelines.train.mixing import Mix, mix_images, mix_targets, random_mix

OFF = {"flip": False, "rotation": 0.0, "zoom": 0.0, "shift": 0.0}
HEIGHT, WIDTH = 24, 32


def params(**values: float) -> AugmentationParams:
    return AugmentationParams.model_validate(OFF | values)


def mixes(count: int = 500, **values: float) -> list[Mix]:
    rng = np.random.default_rng(4)
    found = [random_mix(params(**values), rng, size=8, height=HEIGHT, width=WIDTH) for _ in range(count)]
    return [mix for mix in found if mix is not None]


def test_off_draws_nothing() -> None:
    rng = np.random.default_rng(0)
    assert random_mix(params(), rng, size=8, height=HEIGHT, width=WIDTH) is None
    assert rng.random() == np.random.default_rng(0).random()


def test_shares_of_mixup_follow_the_beta_distribution() -> None:
    from scipy.stats import beta, kstest

    shares = [mix.share for mix in mixes(mixup=0.4)]
    assert kstest(shares, beta(0.4, 0.4).cdf).pvalue > 0.01
    assert all(mix.box is None for mix in mixes(mixup=0.4))


def test_cutmix_pastes_a_box_of_the_share_unless_the_border_cuts_it() -> None:
    found = mixes(cutmix=1.0)
    for mix in found:
        assert mix.box is not None
        top, bottom, left, right = mix.box
        assert 0 <= top <= bottom <= HEIGHT
        assert 0 <= left <= right <= WIDTH
        assert mix.share == pytest.approx(1 - (bottom - top) * (right - left) / (HEIGHT * WIDTH))
    assert np.mean([mix.share for mix in found]) > 0.5  # the border cuts pasted boxes, never the rest


def test_with_both_each_batch_takes_one() -> None:
    share = np.mean([mix.box is None for mix in mixes(mixup=0.2, cutmix=1.0)])
    assert share == pytest.approx(0.5, abs=0.08)


def test_partners_are_a_permutation() -> None:
    for mix in mixes(20, mixup=1.0):
        assert sorted(mix.partner) == list(range(8))


def test_mixup_is_the_weighted_mean_of_two_pictures() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), np.uint8)
    mix = Mix(partner=np.array([1, 2, 0]), share=0.75, box=None)
    expected = 0.75 * images.astype(float) + 0.25 * images[[1, 2, 0]].astype(float)
    np.testing.assert_allclose(mix_images(images, mix), expected, atol=0.5)


def test_cutmix_takes_the_box_from_the_partner_and_the_rest_from_the_picture() -> None:
    images = np.stack([np.full((4, 6, 3), value, np.uint8) for value in (10, 20)])
    mixed = mix_images(images, Mix(partner=np.array([1, 0]), share=0.75, box=(1, 3, 2, 5)))
    assert (mixed[0, 1:3, 2:5] == 20).all()
    assert (mixed[0] == 20).sum() == 2 * 3 * 3
    assert (mixed[1, 1:3, 2:5] == 10).all()
    assert (images[0] == 10).all()


def test_the_loss_of_mixed_targets_is_the_mix_of_the_losses() -> None:
    rng = np.random.default_rng(5)
    labels = np.array([0, 1, 2, 1])
    targets, class_weight = np.eye(3, dtype=np.float32), np.array([0.5, 1.0, 3.0], np.float32)
    logits = rng.normal(size=(4, 3))
    log = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    mix = Mix(partner=np.array([2, 0, 3, 1]), share=0.3, box=None)
    mixed, weights = mix_targets(targets[labels], class_weight[labels], mix)

    def loss(which: np.ndarray) -> np.ndarray:
        return np.asarray(-class_weight[labels[which]] * log[np.arange(4), labels[which]])

    expected = 0.3 * loss(np.arange(4)) + 0.7 * loss(mix.partner)
    np.testing.assert_allclose(-weights * (mixed * log).sum(axis=1), expected, rtol=1e-5)
    np.testing.assert_allclose(mixed.sum(axis=1), 1, rtol=1e-6)
