"""Drawn pictures with dense labels, in files of some thousand; a drawing that was killed continues."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.core.io import replacing
from sample_faces.annotations import draw_annotated
from sample_faces.dataset import drawing_processes
from serving.cores import usable_cores

_PART = 2000
"""Pictures in a file: 25 MB at 64 px, some ten seconds of drawing."""
_CHUNK = 50


@dataclass(frozen=True, kw_only=True, eq=False)
class Pictures:
    """Drawn pictures and their labels."""

    images: NDArray[np.uint8]
    """uint8 [n, side, side, 3]."""
    action_units: NDArray[np.float32]
    """float32 [n, action units · 2] in 0–1."""
    landmarks: NDArray[np.float32]
    """float32 [n, landmarks · 2], shares of the side."""
    pose_deg: NDArray[np.float32]
    """float32 [n, 3]: yaw, pitch, roll."""

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.images)

    def part(self, which: slice) -> Pictures:
        """Some of the pictures; views."""
        return Pictures(
            images=self.images[which],
            action_units=self.action_units[which],
            landmarks=self.landmarks[which],
            pose_deg=self.pose_deg[which],
        )


def draw_pictures(folder: Path, *, count: int, seed: int, size_px: int) -> Pictures:
    """Draw pictures, or read those that `folder` has already.

    Args:
        folder: of the files; those of another seed or size lie beside them.
        count: number of pictures, rounded up to whole files.
        seed: of all pictures.
        size_px: rows and columns.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"seed{seed}_{size_px}px_{start:07d}.npz" for start in range(0, count, _PART)]
    missing = [(path, index * _PART) for index, path in enumerate(paths) if not path.exists()]
    if missing:
        with drawing_processes(usable_cores()) as pool:
            for number, (path, start) in enumerate(missing, start=1):
                chunks = range(start, start + _PART, _CHUNK)
                drawn = pool.imap(_Drawer(seed=seed, size_px=size_px), chunks)
                _write(path, list(drawn))
                print(f"drawn {number * _PART:,} of {len(missing) * _PART:,} pictures", flush=True)
    parts = list(_read(paths))
    return Pictures(
        images=np.concatenate([part.images for part in parts]),
        action_units=np.concatenate([part.action_units for part in parts]),
        landmarks=np.concatenate([part.landmarks for part in parts]),
        pose_deg=np.concatenate([part.pose_deg for part in parts]),
    )


@dataclass(frozen=True, kw_only=True)
class _Drawer:
    """Draws `_CHUNK` pictures in a worker."""

    seed: int
    size_px: int

    def __call__(self, start: int) -> Pictures:
        drawn = [draw_annotated(self.seed, start + index, size_px=self.size_px) for index in range(_CHUNK)]
        return Pictures(
            images=np.stack([image for image, _ in drawn]),
            action_units=np.stack([known.action_units.ravel() for _, known in drawn]),
            landmarks=np.stack([known.landmarks.ravel() for _, known in drawn]),
            pose_deg=np.stack([known.pose_deg for _, known in drawn]),
        )


def _write(path: Path, parts: list[Pictures]) -> None:
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            images=np.concatenate([part.images for part in parts]),
            action_units=np.concatenate([part.action_units for part in parts]),
            landmarks=np.concatenate([part.landmarks for part in parts]),
            pose_deg=np.concatenate([part.pose_deg for part in parts]),
        )


def _read(paths: list[Path]) -> Iterator[Pictures]:
    for path in paths:
        with np.load(path, allow_pickle=False) as file:
            yield Pictures(**{name: file[name] for name in file.files})
