"""Pictures without a face, drawn by rule, and how well a model's novelty tells them from faces.

Five kinds, `PER_KIND` of each: backdrops (a room out of focus, as behind a person), clouds of coloured noise,
textures (stripes, checks, bricks), overlapping shapes, and pixel noise. The same pictures on every machine.
The network gets them as whole pictures, as it would if a face detector took them for a face.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.core.results import NoveltyScores
from pipelines.metrics import roc_auc_of, rounded
from serving.contract import NOVELTY, Image, preprocess
from serving.inference.onnx_classifier import OnnxClassifier

NON_FACES = "drawn-1"
"""Name of the set of pictures. It changes with them, since values of different sets do not compare."""
PER_KIND = 40
_SIDE_PX = 96
_SEED = 20


def non_faces() -> dict[str, Image]:
    """Draw the pictures.

    Returns:
        Kind → uint8 [PER_KIND, 96, 96, 3], RGB.
    """
    return {
        kind: np.stack([draw(np.random.default_rng((_SEED, number, index))) for index in range(PER_KIND)])
        for number, (kind, draw) in enumerate(_KINDS.items())
    }


def measure_novelty(
    classifier: OnnxClassifier, faces: NDArray[np.float64], others: Mapping[str, Image]
) -> NoveltyScores | None:
    """Compare the novelty of faces with that of pictures without one.

    Args:
        classifier: the model.
        faces: its novelty on the test pictures, [n]; higher is stranger.
        others: kind → pictures without a face, uint8 [m, h, w, 3].

    Returns:
        None if the model does not tell novelty, or its threshold is not calibrated.
    """
    block = classifier.contract.novelty
    if block is None or block.threshold is None:
        return None
    found = {kind: _novelty(classifier, pictures) for kind, pictures in others.items()}
    whole = np.concatenate(list(found.values()))
    return NoveltyScores(
        non_faces=NON_FACES,
        auroc=rounded(roc_auc_of(whole, faces)),
        kinds={kind: rounded(roc_auc_of(values, faces)) for kind, values in found.items()},
        faces=len(faces),
        others=len(whole),
        threshold=block.threshold,
        unfamiliar_faces=rounded(float((faces > block.threshold).mean())),
        unfamiliar_others=rounded(float((whole > block.threshold).mean())),
    )


def _novelty(classifier: OnnxClassifier, pictures: Image) -> NDArray[np.float64]:
    spec = classifier.contract.input
    inputs = np.stack([preprocess(picture, spec, face=None) for picture in pictures])
    return np.asarray(classifier.predict(inputs).arrays()[NOVELTY], np.float64)


def _backdrop(rng: np.random.Generator) -> Image:
    """A wall with blurred furniture and the sensor's noise: a scene of the sample without a head."""
    side = 24
    base = rng.uniform(55, 205) + rng.normal(0, 11, 3)
    colours = np.clip(base + rng.normal(0, 22, (6, 1)) + rng.normal(0, 9, (6, 3)), 8, 245)
    ramp = np.linspace(0, 1, side)[:, np.newaxis, np.newaxis]
    small = np.broadcast_to(colours[0] * ramp + colours[1] * (1 - ramp), (side, side, 3)).copy()
    for colour in colours[2:]:
        left, top, width, height = rng.integers((0, 0, 2, 2), (side, side, 9, 22)).tolist()
        if rng.random() < 0.6:
            small[top : top + height, left : left + width] = colour
        else:
            cv2.circle(small, (left, top), width, colour.tolist(), -1)
    small = cv2.GaussianBlur(small, (0, 0), rng.uniform(0.6, 2.2)) * rng.uniform(0.4, 0.9)
    if rng.random() < 0.5:
        small = small.transpose(1, 0, 2)
    large = cv2.resize(small, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_CUBIC)
    return _bytes(large + rng.normal(0, rng.uniform(1, 8), large.shape))


def _cloud(rng: np.random.Generator) -> Image:
    """Noise of which coarse structures are the strongest, as in natural pictures (Field, 1987)."""
    values = np.zeros((_SIDE_PX, _SIDE_PX, 3))
    for cells in (3, 6, 12, 24, 48, 96):
        layer = rng.normal(0, 1, (cells, cells, 3))
        values += cv2.resize(layer, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_CUBIC) / cells
    spread = rng.uniform(24, 60) / values.std()
    return _bytes(rng.uniform(60, 190, 3) + spread * values)


def _texture(rng: np.random.Generator) -> Image:
    """Stripes, checks or bricks in two colours, turned by any angle."""
    rows, columns = np.mgrid[:_SIDE_PX, :_SIDE_PX] / _SIDE_PX
    angle, frequency = rng.uniform(0, np.pi), rng.uniform(2, 16)
    along = columns * np.cos(angle) + rows * np.sin(angle)
    across = rows * np.cos(angle) - columns * np.sin(angle)
    patterns = (
        0.5 + 0.5 * np.sin(2 * np.pi * frequency * along),
        (np.floor(along * frequency) + np.floor(across * frequency)) % 2,
        (along * frequency % 1 < 0.15)
        | ((across * frequency / 2 + 0.5 * np.floor(along * frequency)) % 1 < 0.1),
    )
    share = np.asarray(patterns[rng.integers(len(patterns))], np.float64)[..., np.newaxis]
    first, second = rng.uniform(0, 255, (2, 3))
    return _bytes(first + (second - first) * share)


def _shapes(rng: np.random.Generator) -> Image:
    """Polygons and discs in any colour on a plain ground."""
    picture = np.full((_SIDE_PX, _SIDE_PX, 3), rng.uniform(20, 236, 3), np.float64).astype(np.uint8)
    for _ in range(rng.integers(3, 12)):
        corners = rng.integers(0, _SIDE_PX, (rng.integers(3, 6), 2)).astype(np.int32)
        cv2.fillPoly(picture, [corners], rng.integers(0, 256, 3).tolist(), cv2.LINE_AA)
        centre, radius = rng.integers(0, _SIDE_PX, 2).tolist(), int(rng.integers(4, 24))
        cv2.circle(picture, centre, radius, rng.integers(0, 256, 3).tolist(), -1, cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.8), np.uint8)


def _noise(rng: np.random.Generator) -> Image:
    mean, deviation = rng.uniform(60, 190), rng.uniform(20, 70)
    return _bytes(rng.normal(mean, deviation, (_SIDE_PX, _SIDE_PX, 3)))


def _bytes(values: NDArray[Any]) -> Image:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


_KINDS: Mapping[str, Callable[[np.random.Generator], Image]] = {
    "backdrops": _backdrop,
    "clouds": _cloud,
    "textures": _texture,
    "shapes": _shapes,
    "noise": _noise,
}
