"""Whether a heatmap marks what the prediction depends on: insertion and deletion beside shuffled heatmaps.

Deletion blurs the picture's hottest pixels first: the sooner the probability of the predicted class falls,
the better. Insertion starts from the blurred picture and restores the hottest pixels first: the sooner the
probability rises, the better (Petsiuk, Das & Saenko, 2018, "RISE"). Each is the area under the probability
over the share of pixels. A shuffled heatmap has the same cells at random places: what it reaches is chance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines import metrics
from pipelines.explain.heatmaps import Heatmaps
from pipelines.explain.selection import Faithfulness
from serving.contract.arrays import Image

Probabilities = Callable[[Image], NDArray[np.float32]]
"""uint8 [n, H, W, 3] → float32 [n, classes]."""

STEPS = 10
"""Shares of pixels: 0, 1/10, … 1. With 20 the areas of three of the sample's networks change by 0.004."""
_SEED = 0
# The next digits depend on the processor's rounding.
_DECIMALS = 4
# Of the side. Blurred pictures of the sample are classified by chance (0.10–0.18 by three networks) and keep
# their colours.
_BLUR = 1 / 8


def measure(
    predict: Probabilities,
    pictures: Image,
    heatmaps: Heatmaps,
    groups: NDArray[Any],
    *,
    samples: int,
) -> Faithfulness:
    """Measure the heatmaps of n pictures.

    Args:
        predict: the model.
        pictures: uint8 [n, H, W, 3], of the model's input size.
        heatmaps: float32 [n, rows, columns], of the predicted class.
        groups: [n], person or other group of each picture; intervals resample them.
        samples: bootstrap resamples.
    """
    random = np.random.default_rng(_SEED)
    shuffled = random.permuted(heatmaps.reshape(len(heatmaps), -1), axis=1).reshape(heatmaps.shape)
    areas = np.array(
        [
            [area for heatmap in (own, other) for area in _areas(predict, picture, heatmap)]
            for picture, own, other in zip(pictures, heatmaps, shuffled, strict=True)
        ]
    )
    insertion, deletion, other_insertion, other_deletion = areas.T
    gain = (insertion - deletion) - (other_insertion - other_deletion)
    columns = np.column_stack([areas, gain])
    drawn = (
        metrics.resampled_means(columns, groups, samples=samples, seed=_SEED).T
        if len(np.unique(groups)) > 1
        else [None] * columns.shape[1]
    )
    estimates = [
        metrics.interval_estimate(values.mean(), resamples, decimals=_DECIMALS)
        for values, resamples in zip(columns.T, drawn, strict=True)
    ]
    return Faithfulness(
        pictures=len(pictures),
        insertion=estimates[0],
        deletion=estimates[1],
        shuffled_insertion=estimates[2],
        shuffled_deletion=estimates[3],
        gain=estimates[4],
    )


def blurred(picture: Image) -> Image:
    """The picture without what an expression is made of, uint8 [H, W, 3]."""
    deviation = _BLUR * max(picture.shape[:2])
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), deviation), np.uint8)


def ranks(heatmap: NDArray[np.float32], height: int, width: int) -> NDArray[np.int64]:
    """Place of each pixel from the hottest, 0, to the coldest, int64 [H, W]; equal ones row by row."""
    enlarged = cv2.resize(heatmap, (width, height), interpolation=cv2.INTER_LINEAR)
    order = np.argsort(-enlarged, axis=None, kind="stable")
    places = np.empty(order.size, np.int64)
    places[order] = np.arange(order.size)
    return places.reshape(height, width)


def _areas(predict: Probabilities, picture: Image, heatmap: NDArray[np.float32]) -> Iterator[float]:
    """Areas of insertion and deletion."""
    places = ranks(heatmap, *picture.shape[:2])
    counts = np.linspace(0, places.size, STEPS + 1).round().astype(int)
    hottest = [places < count for count in counts]
    without = blurred(picture)
    insertion = [np.where(one[..., None], picture, without) for one in hottest]
    deletion = [np.where(one[..., None], without, picture) for one in hottest]
    versions = np.stack([*insertion, *deletion])
    probabilities = predict(versions)
    # The picture as it is: the last version of insertion.
    top = int(probabilities[STEPS].argmax())
    for curve in probabilities[:, top].reshape(2, STEPS + 1):
        yield float(np.trapezoid(curve, dx=1 / STEPS))
