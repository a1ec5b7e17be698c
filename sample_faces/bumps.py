"""What gives a face its soft form: bumps and hollows, and the lines that action units and age draw.

Sizes were set by eye on an average face; which unit deepens which fold follows the FACS manual
(Ekman & Friesen, 1978).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


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
    levels: float | Sequence[float] = 1.0
    """How much each point gets of all this."""
    shift: tuple[float, float] = (0.0, 0.0)
    """Offset from the point, outwards and down, face units."""


_LINE = (0.017, 0.017)
_FURROW = (0.034, 0.014)

BUMPS = (
    Bump(part="brow", width=(0.08, 0.055), height=0.022),
    Bump(part="crease", width=(0.07, 0.05), height=-0.03, dark=0.05),
    Bump(part="crease", width=_LINE, height=-0.006, dark=0.16, chain=3, levels=(0.3, 1, 1, 1, 0.5),
         units={5: (0, -0.1)}),
    Bump(part="nose_side", width=(0.05, 0.075), height=-0.045, dark=0.1, levels=(1.0, 0.5, 0.2),
         shift=(0.03, 0.0)),
    Bump(part="iris", width=(0.11, 0.075), height=0.055),
    Bump(part="bag", width=_LINE, dark=0.06, chain=3, levels=(1, 1, 0.8, 0.4),
         units={6: (-0.008, 0.14), 7: (-0.006, 0.12), 9: (-0.008, 0.12)}, age=(-0.010, 0.16)),
    Bump(part="bag", width=(0.07, 0.03), dark=0.06, age=(0.008, 0.06), shift=(0, -0.02)),
    Bump(part="bridge", width=(0.048, 0.075), height=0.05),
    Bump(part="nose_tip", width=(0.085, 0.065), height=0.09, red=0.25),
    Bump(part="wing", width=(0.038, 0.042), height=0.04, red=0.12, levels=(0.2, 1, 0.6, 0.1),
         units={9: (0.02, 0.0)}),
    Bump(part="fold", width=(0.022, 0.035), height=-0.02, dark=0.12, levels=(1, 0, 0, 0, 0),
         units={9: (-0.015, 0.2), 12: (0, 0.12)}),
    Bump(part="columella", width=(0.085, 0.022), height=-0.02, dark=0.2, shift=(0, 0.022)),
    Bump(part="cheek", width=(0.15, 0.12), height=0.045, red=0.55,
         units={6: (0.045, 0.0), 12: (0.03, 0.0), 9: (0.02, 0)}),
    Bump(part="hollow", width=(0.1, 0.15), height=-0.02, age=(-0.04, 0.05)),
    Bump(part="temple", width=(0.07, 0.15), height=-0.03, dark=0.04),
    Bump(part="fold", width=(0.024, 0.024), dark=0.05, chain=4, levels=(0.8, 1, 1, 0.8, 0.2),
         units={12: (-0.012, 0.16), 9: (-0.011, 0.16), 10: (-0.010, 0.14), 20: (-0.004, 0.08)},
         age=(-0.006, 0.10)),
    Bump(part="upper_outer", width=(0.05, 0.025), height=0.014, shift=(0, 0.03)),
    Bump(part="lower_outer", width=(0.075, 0.03), height=0.028, levels=(0, 0.2, 0.9, 1, 0.9, 0.2, 0),
         shift=(0, -0.04)),
    Bump(part="philtrum", width=(0.022, 0.035), height=-0.014, dark=0.05),
    Bump(part="mentolabial", width=(0.07, 0.028), height=-0.02, dark=0.06,
         units={17: (-0.014, 0.12), 15: (-0.004, 0.05)}),
    Bump(part="chin", width=(0.11, 0.085), height=0.05, red=0.15, units={17: (0.025, 0.04)}),
    Bump(part="furrow_1", width=_FURROW, chain=2, levels=(0.0, 0.2, 0.8, 1, 1, 1),
         units={1: (-0.011, 0.2)}, age=(-0.005, 0.09)),
    Bump(part="furrow_2", width=_FURROW, chain=2, levels=(0.2, 0.4, 0.8, 1, 1, 1),
         units={1: (-0.011, 0.2)}, age=(-0.006, 0.11)),
    Bump(part="furrow_3", width=_FURROW, chain=2, levels=(0.1, 0.3, 0.5, 0.7, 0.8, 0.8),
         units={1: (-0.006, 0.12)}, age=(-0.005, 0.09)),
    Bump(part="furrow_1", width=_FURROW, chain=2, levels=(0.7, 1, 0.9, 0.5, 0.2, 0.0),
         units={2: (-0.012, 0.22)}),
    Bump(part="furrow_2", width=_FURROW, chain=2, levels=(0.6, 1, 0.9, 0.5, 0.3, 0.2),
         units={2: (-0.011, 0.2)}),
    Bump(part="glabella", width=(0.014, 0.025), chain=3, levels=(0.5, 1, 0.7),
         units={4: (-0.017, 0.36), 9: (-0.008, 0.16)}, age=(-0.004, 0.08)),
    Bump(part="nose_wrinkle_1", width=_LINE, chain=3, units={9: (-0.013, 0.3)}),
    Bump(part="nose_wrinkle_2", width=_LINE, chain=3, units={9: (-0.012, 0.26)}),
    Bump(part="crow_upper", width=_LINE, chain=3, levels=(1, 0.8, 0.2), units={6: (-0.006, 0.13)},
         age=(-0.006, 0.12)),
    Bump(part="crow_middle", width=_LINE, chain=3, levels=(1, 0.8, 0.2), units={6: (-0.006, 0.13)},
         age=(-0.006, 0.12)),
    Bump(part="crow_lower", width=_LINE, chain=3, levels=(1, 0.8, 0.2), units={6: (-0.006, 0.13)},
         age=(-0.006, 0.12)),
    Bump(part="marionette", width=(0.02, 0.024), chain=3, levels=(1, 0.8, 0.3),
         units={15: (-0.012, 0.26), 12: (-0.002, 0.03)}, age=(-0.007, 0.14)),
    Bump(part="dimple", width=(0.022, 0.03),
         units={14: (-0.02, 0.3), 12: (-0.008, 0.12), 20: (-0.012, 0.16)}),
)  # fmt: skip
