"""Mixup and CutMix: two pictures of a batch become one, and so do their labels.

Zhang et al., 2018, "mixup: Beyond empirical risk minimization"; Yun et al., 2019, "CutMix: Regularization
strategy to train strong classifiers with localizable features".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.core.params import AugmentationParams
from pipelines.train.augmentation import Images


@dataclass(frozen=True, kw_only=True, eq=False)
class Mix:
    """How the pictures of one batch are mixed."""

    partner: NDArray[np.int64]
    """[b]: which picture of the batch each is mixed with."""
    share: float
    """What is left of the picture itself, 0–1."""
    box: tuple[int, int, int, int] | None
    """First row, end row, first column, end column of what CutMix pastes; None for mixup."""


def random_mix(
    params: AugmentationParams, rng: np.random.Generator, *, size: int, height: int, width: int
) -> Mix | None:
    """Draw how one batch is mixed; None where both methods are off."""
    if not (params.mixup or params.cutmix):
        return None
    is_cut = bool(params.cutmix) and (not params.mixup or rng.random() < 0.5)
    partner = rng.permutation(size)
    alpha = params.cutmix if is_cut else params.mixup
    share = float(rng.beta(alpha, alpha))
    if not is_cut:
        return Mix(partner=partner, share=share, box=None)
    box = _box(share, rng, height=height, width=width)
    area = (box[1] - box[0]) * (box[3] - box[2])
    # The border may cut the box off: the label follows what is pasted.
    return Mix(partner=partner, share=1 - area / (height * width), box=box)


def _box(share: float, rng: np.random.Generator, *, height: int, width: int) -> tuple[int, int, int, int]:
    """A box of the picture's aspect and of 1 − `share` of its area, about a uniform centre."""
    side = float(np.sqrt(1 - share))
    rows, columns = round(height * side), round(width * side)
    top, left = int(rng.integers(height)) - rows // 2, int(rng.integers(width)) - columns // 2
    return (max(0, top), min(height, top + rows), max(0, left), min(width, left + columns))


def mix_images(images: Images, mix: Mix) -> Images:
    """Mix pictures, uint8 [b, height, width, 3]; rounded to whole levels."""
    others = images[mix.partner]
    if mix.box is None:
        blend = mix.share * images.astype(np.float32) + (1 - mix.share) * others.astype(np.float32)
        return np.rint(blend).astype(np.uint8)
    result = images.copy()
    top, bottom, left, right = mix.box
    result[:, top:bottom, left:right] = others[:, top:bottom, left:right]
    return result


def mix_targets(
    targets: NDArray[np.float32], weights: NDArray[np.float32], mix: Mix
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mix one-hot targets [b, classes] and class weights [b].

    The weighted cross-entropy of the result is the mix of the two pictures' weighted cross-entropies.
    """
    own, other = mix.share * weights, (1 - mix.share) * weights[mix.partner]
    weight = own + other
    mixed = (own[:, None] * targets + other[:, None] * targets[mix.partner]) / weight[:, None]
    return mixed.astype(np.float32), weight.astype(np.float32)
