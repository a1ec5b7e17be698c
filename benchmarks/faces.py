"""How many faces each detector finds, how many it invents and what it costs: `python -m benchmarks.faces`.

Scenes of several drawn people at known places, 24 to 320 px large, turned, dark and partly behind each other.
YuNet is compared where `MIEN_FACE_MODEL` names its file.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sample_faces.annotations import LANDMARKS, draw_annotated_sitting
from sample_faces.geometry import part, shape_face
from sample_faces.portrait import paint_portrait
from serving.contract.arrays import Box, Image
from serving.contract.faces import FACE_MODEL_VARIABLE, FaceDetector, HaarDetector, YuNetDetector

WIDTH_PX, HEIGHT_PX = 1280, 960
_SEED = 15
_MAX_PEOPLE = 8
_SIZES_PX = (24, 320)
"""Smallest and largest height of a face, brows to chin."""
_BINS_PX = (24, 48, 96, 192, 321)
_FACE_SHARE = 0.51
"""Height of a face, brows to chin, as a share of the painted portrait."""
_DARK_SHARE = 0.2
_VISIBLE = 0.6
"""Smallest share of a face's landmarks that is not behind somebody else's portrait."""
_HINT_SCORES = (0.3, 0.4, 0.5, 0.6)
_BOX_RATIO = (0.6, 2.6)
"""Side of a found box ÷ height of the face, brows to chin: what counts as this face."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FaceScene:
    """A picture of several people."""

    image: Image
    faces: tuple[Box, ...]
    """Bounding boxes of the landmarks (brows, jaw, chin) of those who can be seen."""


def draw_face_scene(seed: int, index: int) -> FaceScene:
    """Draw one scene; scenes of the same seed have different people."""
    rng = np.random.default_rng((seed, index))
    canvas = _wall(rng)
    smallest, largest = np.log(_SIZES_PX)
    sizes = np.exp(rng.uniform(smallest, largest, int(rng.integers(1, _MAX_PEOPLE + 1))))
    placed: list[NDArray[np.float64]] = []
    hidden: list[NDArray[np.bool_]] = []
    # The small ones are far away, so the large ones are painted over them.
    for number, size in enumerate(np.sort(sizes)):
        head, points = _portrait(seed, index * _MAX_PEOPLE + number, round(float(size) / _FACE_SHARE))
        left = int(rng.integers(-head.shape[1] // 6, WIDTH_PX - head.shape[1] * 5 // 6))
        top = int(rng.integers(-head.shape[0] // 8, HEIGHT_PX - head.shape[0] * 7 // 8))
        cover = _lay(canvas, head, left, top)
        for earlier, seen in zip(placed, hidden, strict=True):
            seen |= _covered(earlier, cover)
        points += np.array((left, top))
        placed.append(points)
        outside = (points < 0) | (points >= (WIDTH_PX, HEIGHT_PX))
        hidden.append(np.asarray(outside.any(1), np.bool_))
    gain = rng.uniform(0.25, 0.5) if rng.random() < _DARK_SHARE else 1.0
    image = np.clip(canvas * gain + rng.normal(0, 3, canvas.shape), 0, 255).astype(np.uint8)
    boxes = [
        _bounds(points) for points, away in zip(placed, hidden, strict=True) if away.mean() < 1 - _VISIBLE
    ]
    return FaceScene(image=image, faces=tuple(boxes))


def _wall(rng: np.random.Generator) -> NDArray[np.float32]:
    small = (rng.uniform(60, 200, (6, 8, 1)) + rng.uniform(-25, 25, (6, 8, 3))).astype(np.float32)
    return np.asarray(cv2.resize(small, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_CUBIC), np.float32)


def _portrait(seed: int, index: int, size_px: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """A painted head, float32 [s, s, 4], and its landmarks, float64 [n, 2] in px."""
    sitting = draw_annotated_sitting(seed, index)
    scene = sitting.scene
    # Painted at twice the size, as the sample's pictures are: no jagged edges.
    painted_px = 2 * size_px
    head = paint_portrait(
        sitting.person,
        sitting.expression,
        pose=scene.pose,
        light=scene.light,
        gaze=scene.gaze,
        size_px=painted_px,
    )
    face = shape_face(sitting.person.shape, sitting.expression)
    points = scene.pose.project(np.concatenate([part(face, name) for name in LANDMARKS]), painted_px)
    turn = cv2.getRotationMatrix2D((painted_px / 2, painted_px / 2), -scene.pose.roll_deg, 1.0)
    turned = cv2.warpAffine(head, turn, (painted_px, painted_px))
    small = cv2.resize(turned, (size_px, size_px), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32), (points @ turn[:, :2].T + turn[:, 2]) / 2


def _lay(canvas: NDArray[np.float32], head: NDArray[np.float32], left: int, top: int) -> NDArray[np.float32]:
    """Paint a head over the canvas; return how much it covers, float32 [rows, columns] in 0–1."""
    cover = np.zeros(canvas.shape[:2], np.float32)
    rows = slice(max(0, top), min(HEIGHT_PX, top + head.shape[0]))
    columns = slice(max(0, left), min(WIDTH_PX, left + head.shape[1]))
    seen = head[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    cover[rows, columns] = seen[..., 3] / 255
    canvas[rows, columns] = seen[..., :3] + (1 - seen[..., 3:] / 255) * canvas[rows, columns]
    return cover


def _covered(points: NDArray[np.float64], cover: NDArray[np.float32]) -> NDArray[np.bool_]:
    columns = np.clip(points[:, 0].astype(int), 0, WIDTH_PX - 1)
    rows = np.clip(points[:, 1].astype(int), 0, HEIGHT_PX - 1)
    return np.asarray(cover[rows, columns] > 0.5, np.bool_)


def _bounds(points: NDArray[np.float64]) -> Box:
    (left, top), (right, bottom) = points.min(0), points.max(0)
    return round(left), round(top), round(right - left), round(bottom - top)


@dataclass(kw_only=True)
class Count:
    """What a detector did in all scenes."""

    found: dict[int, int]
    """Faces found, by the smallest height of their bin."""
    invented: int = 0
    milliseconds: list[float]


def matched(faces: Sequence[Box], boxes: Sequence[Box]) -> tuple[set[int], int]:
    """Which faces have a box, and how many boxes have no face.

    A box counts for a face if it holds the middle of the face and is about its size.
    """
    seen: set[int] = set()
    invented = 0
    for left, top, width, height in boxes:
        for index, (x, y, wide, high) in enumerate(faces):
            middle = (x + wide / 2, y + high / 2)
            holds = left <= middle[0] <= left + width and top <= middle[1] <= top + height
            if holds and _BOX_RATIO[0] <= max(width, height) / high <= _BOX_RATIO[1]:
                seen.add(index)
                break
        else:
            invented += 1
    return seen, invented


def bin_of(height_px: int) -> int:
    """The smallest height of a face's bin, px."""
    return next((low for low in reversed(_BINS_PX[:-1]) if height_px >= low), _BINS_PX[0])


def compare(detectors: Mapping[str, FaceDetector], scenes: Sequence[FaceScene]) -> dict[str, Count]:
    """Let every detector look at every scene, one after the other, in turns."""
    counts = {name: Count(found=dict.fromkeys(_BINS_PX[:-1], 0), milliseconds=[]) for name in detectors}
    for scene in scenes:
        for name, detector in detectors.items():
            begun = time.perf_counter()
            boxes = [face.box for face in detector.detect(scene.image)]
            counts[name].milliseconds.append((time.perf_counter() - begun) * 1e3)
            seen, invented = matched(scene.faces, boxes)
            counts[name].invented += invented
            for index in seen:
                counts[name].found[bin_of(scene.faces[index][3])] += 1
    return counts


@dataclass(frozen=True, kw_only=True)
class Hints:
    """Possible faces above a score, in all scenes."""

    score: float
    places: int
    on_faces: int
    """Of the places, those on a missed face."""
    missed: int
    """Faces that the detector did not find."""
    hinted: int
    """Missed faces with a place."""


def hints(detector: FaceDetector, scenes: Sequence[FaceScene], scores: Sequence[float]) -> list[Hints]:
    """What possible faces tell about missed ones.

    Args:
        detector: gives possible faces down to the lowest of the scores.
        scenes: with known faces.
        scores: lowest scores of a possible face.
    """
    searches = [detector.search(scene.image) for scene in scenes]
    found = []
    for score in scores:
        places = on_faces = missed = hinted = 0
        for scene, search in zip(scenes, searches, strict=True):
            seen, _ = matched(scene.faces, [face.box for face in search.faces])
            boxes = [face.box for face in search.possible if face.score >= score]
            unseen = [face for index, face in enumerate(scene.faces) if index not in seen]
            hits, empty = matched(unseen, boxes)
            places += len(boxes)
            on_faces += len(boxes) - empty
            missed += len(unseen)
            hinted += len(hits)
        found.append(Hints(score=score, places=places, on_faces=on_faces, missed=missed, hinted=hinted))
    return found


def _hints_shown(found: Sequence[Hints], scenes: int) -> str:
    lines = [
        "| lowest score | possible faces per picture | of them on a missed face | missed faces with one |",
        "| --- | --- | --- | --- |",
        *(
            f"| {one.score} | {one.places / scenes:.2f} | {one.on_faces / max(1, one.places):.0%} "
            f"| {one.hinted / max(1, one.missed):.0%} of {one.missed} |"
            for one in found
        ),
    ]
    return "\n".join(lines)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Recall, false faces and cost of the face detectors.")
    parser.add_argument("--scenes", type=int, default=150, metavar="N", help="drawn scenes (150)")
    scenes = [draw_face_scene(_SEED, index) for index in range(parser.parse_args().scenes)]
    cv2.setNumThreads(1)
    detectors: dict[str, FaceDetector] = {
        "Haar, side up to 640 px, step 1.1, 5 neighbours": HaarDetector(
            max_side_px=640, scale_step=1.1, neighbors=5
        ),
        "Haar as the service has it": HaarDetector(),
    }
    model = os.environ.get(FACE_MODEL_VARIABLE)
    if model:
        detectors["YuNet"] = YuNetDetector(Path(model))
    print(_shown(compare(detectors, scenes), scenes))
    if model:
        widest = YuNetDetector(Path(model), possible_score=_HINT_SCORES[0])
        print(f"\n{_hints_shown(hints(widest, scenes, _HINT_SCORES), len(scenes))}")


def _shown(counts: Mapping[str, Count], scenes: Sequence[FaceScene]) -> str:
    heights = [box[3] for scene in scenes for box in scene.faces]
    totals = {low: sum(bin_of(height) == low for height in heights) for low in _BINS_PX[:-1]}
    bins = [f"{low}–{high - 1} px ({totals[low]})" for low, high in pairwise(_BINS_PX)]
    rows = [
        [
            name,
            *(f"{count.found[low] / max(1, totals[low]):.0%}" for low in totals),
            f"{count.invented / len(scenes):.2f}",
            f"{np.median(count.milliseconds):.1f}",
        ]
        for name, count in counts.items()
    ]
    header = ["detector", *bins, "false faces per picture", "ms, one thread"]
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
