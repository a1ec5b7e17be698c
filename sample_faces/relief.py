"""Soft form: cheeks, sockets, folds and furrows as a sum of Gaussians that hang on landmarks.

Each bump is axis-aligned, so a whole field is one matrix product of rows and columns, and so
are its slopes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sample_faces.action_units import ACTION_UNITS, Expression, unit_index
from sample_faces.bumps import BUMPS, Bump
from sample_faces.landmarks import ends_of, half_to_whole, mean_face, right_share, spline

Field = NDArray[np.float32]


_VANISHED = np.float32(-20)
"""Exponents of Gaussians stop here: denormal numbers would slow the products down several times."""
_INVISIBLE = 0.012
"""Bumps that change slope and light by less than this are left out."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Table:
    place: NDArray[np.float32]
    """[bumps, landmarks]: a bump's centre as a mixture of landmarks."""
    shift: NDArray[np.float32]
    """[bumps, 2]"""
    width: NDArray[np.float32]
    """[bumps, 2]"""
    base: NDArray[np.float32]
    """[bumps, 3]: height, dark, red at rest"""
    age: NDArray[np.float32]
    """[bumps, 3]"""
    gain: NDArray[np.float32]
    """[action units × 2, bumps × 3]"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Form:
    """Fields over the canvas, float32 [rows, columns]."""

    slope_x: Field
    """Rise of the relief per unit to the right."""
    slope_y: Field
    dark: Field
    """Light taken away, 0–1."""
    red: Field
    """Flush, 0–1."""


def raise_form(
    landmarks_px: NDArray[np.float32], expression: Expression, *, age: float, unit_px: float, size_px: int
) -> Form:
    """Fields of the relief that hangs on projected landmarks.

    Args:
        landmarks_px: float32 [landmarks, 2], px.
        expression: deepens folds and furrows.
        age: 0–1, draws the lines of age.
        unit_px: length of a face unit, px.
        size_px: rows and columns of the canvas.
    """
    table = _table()
    centre = table.place @ landmarks_px + table.shift * unit_px
    amount = table.base + age * table.age
    amount = amount + (expression.activation.reshape(-1) @ table.gain).reshape(amount.shape)
    # Invisible bumps (most furrows of a calm young face) are skipped to save computation.
    steepness = np.abs(amount) * np.stack([0.6 / table.width.min(axis=1), *np.ones((2, len(amount)))], axis=1)
    used = steepness.max(axis=1) > _INVISIBLE
    centre, amount, width = centre[used], amount[used], table.width[used] * unit_px
    along = np.arange(size_px, dtype=np.float32)
    offset_x = (along - centre[:, :1]) / width[:, :1]
    offset_y = (along - centre[:, 1:]) / width[:, 1:]
    column = np.exp(np.maximum(-0.5 * offset_x**2, _VANISHED))
    row = np.exp(np.maximum(-0.5 * offset_y**2, _VANISHED))
    height, dark, red = (amount * (unit_px, 1, 1)).astype(np.float32).T[:, :, None]
    red_used = red[:, 0] != 0
    return Form(
        slope_x=(row * height).T @ (-offset_x * column / width[:, :1]),
        slope_y=(-offset_y * row * height / width[:, 1:]).T @ column,
        dark=(row * dark).T @ column,
        red=(row[red_used] * red[red_used]).T @ column[red_used],
    )


@lru_cache(maxsize=1)
def _table() -> _Table:
    rows = [row for bump in BUMPS for row in _rows_of(bump)]
    place, shift, width, base, age, gain = (
        np.asarray(column, np.float32) for column in zip(*rows, strict=True)
    )
    return _Table(
        place=place, shift=shift, width=width, base=base, age=age,
        gain=gain.transpose(1, 0, 2).reshape(gain.shape[1], -1),
    )  # fmt: skip


def _rows_of(bump: Bump) -> list[tuple[NDArray[np.float64], ...]]:
    """One row of the table per Gaussian."""
    mean, slices = mean_face()
    rows: list[tuple[NDArray[np.float64], ...]] = []
    for end in ends_of(bump.part):
        where = slices[end]
        count = where.stop - where.start
        curve = spline(count, samples=bump.chain).astype(float) if bump.chain else np.eye(count)
        centres = curve @ mean[where, :2]
        levels = curve @ half_to_whole(bump.levels, count)
        if bump.chain:
            levels = levels * _overlap(centres, np.asarray(bump.width))
        for weights, level, centre in zip(curve, levels, centres, strict=True):
            place = np.zeros(len(mean))
            place[where] = weights
            rows.append((
                place,
                np.array((bump.shift[0] * np.sign(round(float(centre[0]), 4)), bump.shift[1])),
                np.asarray(bump.width),
                level * np.array((bump.height, bump.dark, bump.red)),
                level * np.array((*bump.age, 0.0)),
                level * _gain(bump, right_share(float(centre[0]))),
            ))  # fmt: skip
    return rows


def _gain(bump: Bump, right: float) -> NDArray[np.float64]:
    """What each action unit's left and right half adds, [action units × 2, 3]."""
    gain = np.zeros((len(ACTION_UNITS), 2, 3))
    for unit, (height, dark) in bump.units.items():
        gain[unit_index(unit)] = np.outer((1 - right, right), (height, dark, 0.0))
    return gain.reshape(-1, 3)


def _overlap(centres: NDArray[np.float64], width: NDArray[np.float64]) -> NDArray[np.float64]:
    """Factor that makes a chain of Gaussians sum to about 1 along it, per Gaussian."""
    step = np.gradient(centres, axis=0)
    spacing = np.linalg.norm(step, axis=1)
    along = np.linalg.norm(step * width, axis=1) / spacing
    return np.asarray(np.minimum(1.0, spacing / (along * np.sqrt(2 * np.pi))))
