"""Soft form: cheeks, sockets, folds and furrows as a sum of Gaussians that hang on landmarks.

Each bump is axis-aligned, so a whole field is one matrix product of its rows and columns; slopes come out in closed form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipelines.sample.action_units import ACTION_UNITS, Expression, unit_index
from pipelines.sample.landmarks import mean_face, spline

Field = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Bump:
    """A Gaussian at every point of a part, or a chain of them along it."""

    part: str
    width: tuple[float, float]
    """Standard deviations in x and y, face units."""
    height: float = 0.0
    """Relief, face units; negative digs."""
    dark: float = 0.0
    """Share of light taken away at the centre, 0–1."""
    red: float = 0.0
    """Flush at the centre, 0–1."""
    units: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    """What full activation of an action unit adds to `height` and `dark`."""
    age: tuple[float, float] = (0.0, 0.0)
    """What age 1 adds to `height` and `dark`."""
    chain: int = 0
    """Bumps per segment along the part's curve; 0 = only at its points."""
    levels: Sequence[float] | None = None
    """How much each point gets of all this."""
    shift: tuple[float, float] = (0.0, 0.0)
    """Offset from the point, outwards and down, face units."""


_LINE = (0.017, 0.017)
_FURROW = (0.034, 0.014)

_BUMPS = (
    Bump(part="brow", width=(0.08, 0.055), height=0.022),
    Bump(part="crease", width=(0.07, 0.05), height=-0.03, dark=0.05),
    Bump(part="crease", width=_LINE, height=-0.006, dark=0.16, chain=3, levels=(0.3, 1, 1, 1, 0.5), units={5: (0, -0.1)}),
    Bump(part="nose_side", width=(0.05, 0.075), height=-0.045, dark=0.1, levels=(1.0, 0.5, 0.2), shift=(0.03, 0.0)),
    Bump(part="iris", width=(0.11, 0.075), height=0.055),
    Bump(part="bag", width=_LINE, dark=0.06, chain=3, levels=(1, 1, 0.8, 0.4),
         units={6: (-0.008, 0.14), 7: (-0.006, 0.12), 9: (-0.008, 0.12)}, age=(-0.010, 0.16)),
    Bump(part="bag", width=(0.07, 0.03), dark=0.06, age=(0.008, 0.06), shift=(0, -0.02)),
    Bump(part="bridge", width=(0.048, 0.075), height=0.05),
    Bump(part="nose_tip", width=(0.085, 0.065), height=0.09, red=0.25),
    Bump(part="wing", width=(0.038, 0.042), height=0.04, red=0.12, levels=(0.2, 1, 0.6, 0.1), units={9: (0.02, 0.0)}),
    Bump(part="fold", width=(0.022, 0.035), height=-0.02, dark=0.12, levels=(1, 0, 0, 0, 0), units={9: (-0.015, 0.2), 12: (0, 0.12)}),
    Bump(part="columella", width=(0.085, 0.022), height=-0.02, dark=0.2, shift=(0, 0.022)),
    Bump(part="cheek", width=(0.15, 0.12), height=0.045, red=0.55, units={6: (0.045, 0.0), 12: (0.03, 0.0), 9: (0.02, 0)}),
    Bump(part="hollow", width=(0.1, 0.15), height=-0.02, age=(-0.04, 0.05)),
    Bump(part="temple", width=(0.07, 0.15), height=-0.03, dark=0.04),
    Bump(part="fold", width=(0.024, 0.024), dark=0.05, chain=4, levels=(0.8, 1, 1, 0.8, 0.2),
         units={12: (-0.012, 0.16), 9: (-0.011, 0.16), 10: (-0.010, 0.14), 20: (-0.004, 0.08)}, age=(-0.006, 0.10)),
    Bump(part="upper_outer", width=(0.05, 0.025), height=0.014, shift=(0, 0.03)),
    Bump(part="lower_outer", width=(0.075, 0.03), height=0.028, levels=(0, 0.2, 0.9, 1, 0.9, 0.2, 0), shift=(0, -0.04)),
    Bump(part="philtrum", width=(0.022, 0.035), height=-0.014, dark=0.05),
    Bump(part="mentolabial", width=(0.07, 0.028), height=-0.02, dark=0.06, units={17: (-0.014, 0.12), 15: (-0.004, 0.05)}),
    Bump(part="chin", width=(0.11, 0.085), height=0.05, red=0.15, units={17: (0.025, 0.04)}),
    Bump(part="furrow_1", width=_FURROW, chain=2, levels=(0.0, 0.2, 0.8, 1, 1, 1), units={1: (-0.011, 0.2)}, age=(-0.005, 0.09)),
    Bump(part="furrow_2", width=_FURROW, chain=2, levels=(0.2, 0.4, 0.8, 1, 1, 1), units={1: (-0.011, 0.2)}, age=(-0.006, 0.11)),
    Bump(part="furrow_3", width=_FURROW, chain=2, levels=(0.1, 0.3, 0.5, 0.7, 0.8, 0.8), units={1: (-0.006, 0.12)}, age=(-0.005, 0.09)),
    Bump(part="furrow_1", width=_FURROW, chain=2, levels=(0.7, 1, 0.9, 0.5, 0.2, 0.0), units={2: (-0.012, 0.22)}),
    Bump(part="furrow_2", width=_FURROW, chain=2, levels=(0.6, 1, 0.9, 0.5, 0.3, 0.2), units={2: (-0.011, 0.2)}),
    Bump(part="glabella", width=(0.014, 0.025), chain=3, levels=(0.5, 1, 0.7), units={4: (-0.017, 0.36), 9: (-0.008, 0.16)}, age=(-0.004, 0.08)),
    Bump(part="nose_wrinkle_1", width=_LINE, chain=3, units={9: (-0.013, 0.3)}),
    Bump(part="nose_wrinkle_2", width=_LINE, chain=3, units={9: (-0.012, 0.26)}),
    Bump(part="crow_upper", width=_LINE, chain=3, levels=(1, 0.8, 0.2), units={6: (-0.006, 0.13)}, age=(-0.006, 0.12)),
    Bump(part="crow_middle", width=_LINE, chain=3, levels=(1, 0.8, 0.2), units={6: (-0.006, 0.13)}, age=(-0.006, 0.12)),
    Bump(part="crow_lower", width=_LINE, chain=3, levels=(1, 0.8, 0.2), units={6: (-0.006, 0.13)}, age=(-0.006, 0.12)),
    Bump(part="marionette", width=(0.02, 0.024), chain=3, levels=(1, 0.8, 0.3), units={15: (-0.012, 0.26), 12: (-0.002, 0.03)}, age=(-0.007, 0.14)),
    Bump(part="dimple", width=(0.022, 0.03), units={14: (-0.02, 0.3), 12: (-0.008, 0.12), 20: (-0.012, 0.16)}),
)  # fmt: skip


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


def raise_form(landmarks_px: NDArray[np.float32], expression: Expression, *, age: float, unit_px: float, size_px: int) -> Form:
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
    # Bumps that add nothing (most furrows of a calm young face) are not worth their rows.
    used = np.abs(amount).max(axis=1) > 1e-4
    centre, amount, width = centre[used], amount[used], table.width[used] * unit_px
    along = np.arange(size_px, dtype=np.float32)
    offset_x = (along - centre[:, :1]) / width[:, :1]
    offset_y = (along - centre[:, 1:]) / width[:, 1:]
    column, row = np.exp(-0.5 * offset_x**2), np.exp(-0.5 * offset_y**2)
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
    rows = [row for bump in _BUMPS for row in _rows_of(bump)]
    place, shift, width, base, age, gain = (np.asarray(column, np.float32) for column in zip(*rows, strict=True))
    return _Table(
        place=place, shift=shift, width=width, base=base, age=age,
        gain=gain.transpose(1, 0, 2).reshape(gain.shape[1], -1),
    )  # fmt: skip


def _rows_of(bump: Bump) -> list[tuple[NDArray[np.float64], ...]]:
    mean, slices = mean_face()
    sides = (("", 0.5, 0.5),) if bump.part in slices else ((".left", 1.0, 0.0), (".right", 0.0, 1.0))
    rows = []
    for side, left, right in sides:
        where = slices[bump.part + side]
        count = where.stop - where.start
        curve = spline(count, samples=bump.chain) if bump.chain else np.eye(count)
        levels = curve @ (np.ones(count) if bump.levels is None else _mirror_levels(bump.levels, count))
        if bump.chain:
            levels = levels * _overlap(curve @ mean[where, :2], bump.width)
        for weights, level in zip(curve, levels, strict=True):
            place = np.zeros(len(mean))
            place[where] = weights
            gain = np.zeros((len(ACTION_UNITS), 2, 3))
            for unit, (height, dark) in bump.units.items():
                gain[unit_index(unit)] = np.outer((left, right), (height * level, dark * level, 0))
            outwards = bump.shift[0] * (right - left)
            rows.append((
                place, np.array((outwards, bump.shift[1])), np.asarray(bump.width),
                level * np.array((bump.height, bump.dark, bump.red)), level * np.array((*bump.age, 0.0)),
                gain.reshape(-1, 3),
            ))  # fmt: skip
    return rows


def _overlap(centres: NDArray[np.float64], width: tuple[float, float]) -> NDArray[np.float64]:
    """Factor that makes a chain of Gaussians sum to about 1 along it, per Gaussian."""
    step = np.gradient(centres, axis=0)
    spacing = np.linalg.norm(step, axis=1)
    along = np.linalg.norm(step * width, axis=1) / spacing
    return np.minimum(1.0, spacing / (along * np.sqrt(2 * np.pi)))


def _mirror_levels(levels: Sequence[float], count: int) -> NDArray[np.float64]:
    given = np.asarray(levels, float)
    return given if len(given) == count else np.concatenate([given[:0:-1], given])
