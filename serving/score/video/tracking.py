"""Faces of successive frames to tracks: one number for the same face for as long as it is seen.

    tracker = Tracker(max_gap_s=1.0)
    tracks = tracker.update(time_s, boxes, embeddings)     # one number for each box

Bewley et al., 2016, "Simple online and realtime tracking" (SORT): each track predicts where its box is now,
and boxes are assigned to predictions by their overlap (IoU). As in Wojke et al., 2017, "Simple online and
realtime tracking with a deep association metric" (DeepSORT), appearance counts too, here the cosine distance
of the classifier's embeddings, and a track outlives a second without its face. Faces that do not overlap with
their predictions, because they move fast, are assigned by distance and appearance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

Array = NDArray[np.float64]

MAX_GAP_S = 1.0
"""How long a track lives without its face, seconds: DeepSORT's 30 frames at 30 frames per second."""
MIN_IOU = 0.3
"""Smallest overlap of a prediction and its box: SORT's."""
# The embedding is a classifier's of expressions, and changes with a face: of drawn people the median distance
# is 0.1 for one person with two expressions, 0.2 for two people. So overlap counts more.
_EMBEDDING_WEIGHT = 0.5
# Without overlap: middles at most one side of the face apart, and sizes within a factor of two.
_MAX_DISTANCE, _MAX_RATIO = 1.0, 2.0
# Share of the old in a track's embedding and velocity. Du et al., 2023, "StrongSORT: Make DeepSORT great
# again", have 0.9 for embeddings at 30 frames per second, which is 0.5 at five.
_KEPT = 0.5
_FORBIDDEN = 1e6
_EMPTY = 1e-12


@dataclass(slots=True)
class _Track:
    number: int
    time_s: float
    """When its face was seen last."""
    box: Array
    velocity: Array
    """Of the box's left and top, px per second."""
    embedding: Array

    def predicted(self, time_s: float) -> Array:
        box = self.box.copy()
        box[:2] += self.velocity * (time_s - self.time_s)
        return box

    def see(self, time_s: float, box: Array, embedding: Array) -> None:
        middle, before = box[:2] + box[2:] / 2, self.box[:2] + self.box[2:] / 2
        velocity = (middle - before) / (time_s - self.time_s)
        self.velocity = _KEPT * self.velocity + (1 - _KEPT) * velocity
        self.embedding = _KEPT * self.embedding + (1 - _KEPT) * embedding
        self.time_s, self.box = time_s, box


class Tracker:
    """Tracks faces through the frames of one clip."""

    def __init__(self, *, max_gap_s: float = MAX_GAP_S) -> None:
        """Create a tracker without tracks.

        Args:
            max_gap_s: a track whose face was not seen for longer ends; its number is not used again.
        """
        self._max_gap_s = max_gap_s
        self._tracks: list[_Track] = []
        self.count = 0
        """Number of tracks until now."""

    def update(self, time_s: float, boxes: Array, embeddings: Array) -> NDArray[np.int32]:
        """Assign the faces of one frame.

        Args:
            time_s: time of the frame; later than that of the frame before it.
            boxes: left, top, width and height of each face, px, [n, 4].
            embeddings: embedding of each face, [n, D].

        Returns:
            Number of each face's track, from 1, int32 [n].
        """
        self._tracks = [track for track in self._tracks if time_s - track.time_s <= self._max_gap_s]
        numbers = np.zeros(len(boxes), np.int32)
        if self._tracks and len(boxes):
            predicted = np.stack([track.predicted(time_s) for track in self._tracks])
            known = np.stack([track.embedding for track in self._tracks])
            for row, column in match_faces(predicted, boxes, cosine_distances(known, embeddings)):
                self._tracks[row].see(time_s, boxes[column], embeddings[column])
                numbers[column] = self._tracks[row].number
        for index in np.flatnonzero(numbers == 0):
            self.count += 1
            numbers[index] = self.count
            self._tracks.append(
                _Track(self.count, time_s, boxes[index], np.zeros(2), np.asarray(embeddings[index]))
            )
        return numbers


def match_faces(predicted: Array, boxes: Array, distances: Array) -> list[tuple[int, int]]:
    """Pair tracks with faces: first those that overlap, then those that are close and look alike.

    Args:
        predicted: boxes of the tracks, px, [t, 4].
        boxes: boxes of the faces, px, [n, 4].
        distances: cosine distance of each track's and each face's embedding, [t, n].

    Returns:
        (track, face) of each pair.
    """
    overlap = overlaps(predicted, boxes)
    cost = 1 - overlap + _EMBEDDING_WEIGHT * distances
    pairs = assign(np.where(overlap >= MIN_IOU, cost, np.inf))
    apart, ratio = _geometry(predicted, boxes)
    allowed = (apart <= _MAX_DISTANCE) & (ratio <= _MAX_RATIO)
    for row, column in pairs:
        allowed[row, :] = allowed[:, column] = False
    return pairs + assign(np.where(allowed, apart + _EMBEDDING_WEIGHT * distances, np.inf))


def assign(cost: Array) -> list[tuple[int, int]]:
    """Pair rows with columns: as many as possible, and of these pairings the one of the lowest total cost.

    Kuhn, 1955, "The Hungarian method for the assignment problem".

    Args:
        cost: [rows, columns]; infinite for a pair that is not allowed.
    """
    finite = np.isfinite(cost)
    rows, columns = linear_sum_assignment(np.where(finite, cost, _FORBIDDEN))
    return [(int(row), int(column)) for row, column in zip(rows, columns, strict=True) if finite[row, column]]


def overlaps(boxes: Array, others: Array) -> Array:
    """Intersection over union of each box with each of the others, in [0, 1], [n, m]."""
    starts = np.maximum(boxes[:, None, :2], others[None, :, :2])
    ends = np.minimum(boxes[:, None, :2] + boxes[:, None, 2:], others[None, :, :2] + others[None, :, 2:])
    shared = np.clip(ends - starts, 0, None).prod(axis=2)
    areas = boxes[:, 2:].prod(axis=1)[:, None] + others[:, 2:].prod(axis=1)[None, :]
    return np.asarray(shared / np.maximum(areas - shared, _EMPTY))


def cosine_distances(embeddings: Array, others: Array) -> Array:
    """1 − cosine of the angle of each embedding and each of the others, [n, m]; 0 for one direction."""
    lengths = np.linalg.norm(embeddings, axis=1)[:, None] * np.linalg.norm(others, axis=1)[None, :]
    return np.asarray(1 - embeddings @ others.T / np.maximum(lengths, _EMPTY))


def _geometry(boxes: Array, others: Array) -> tuple[Array, Array]:
    """Distance of the middles in sides of the face, and ratio of the sides (at least 1), both [n, m]."""
    middles = boxes[:, None, :2] + boxes[:, None, 2:] / 2 - others[None, :, :2] - others[None, :, 2:] / 2
    sides = np.sqrt(boxes[:, 2:].prod(axis=1))[:, None], np.sqrt(others[:, 2:].prod(axis=1))[None, :]
    mean, smaller = (sides[0] + sides[1]) / 2, np.minimum(*sides)
    apart = np.linalg.norm(middles, axis=2) / np.maximum(mean, _EMPTY)
    return np.asarray(apart), np.asarray(np.maximum(*sides) / np.maximum(smaller, _EMPTY))
