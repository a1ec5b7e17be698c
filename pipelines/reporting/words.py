"""Numbers as a reader wants them: rounded, with units, a dash where there is none."""

from __future__ import annotations

NONE = "–"
_THIN = "\u202f"
"""A narrow space that does not break a line."""


def percent(value: float | None, digits: int = 1) -> str:
    """0.7142 → `71.4 %`."""
    return NONE if value is None else f"{value * 100:.{digits}f}{_THIN}%"


def share(value: float | None, digits: int = 3) -> str:
    """0.71421 → `0.714`."""
    return NONE if value is None else f"{value:.{digits}f}"


def count(value: float | None) -> str:
    """1234567 → `1 234 567`."""
    return NONE if value is None else f"{value:,.0f}".replace(",", _THIN)


def large(value: float | None) -> str:
    """1234567 → `1.23 M`: three digits are enough to compare."""
    if value is None:
        return NONE
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{_THIN}{unit}"
    return f"{value:.0f}"


def measure(value: float | None, unit: str) -> str:
    """Three significant digits with a unit: 0.8123, `ms` → `0.812 ms`."""
    if value is None:
        return NONE
    digits = 0 if value >= 99.5 else 1 if value >= 9.95 else 2
    return f"{value:.{digits}f}{_THIN}{unit}"


def plain(value: float | None) -> str:
    """Four significant digits and no more zeros than needed: 200.0 → `200`."""
    return NONE if value is None else f"{value:.4g}"


def plural(value: int, one: str, many: str) -> str:
    """1, face, faces → `1 face`."""
    return f"{count(value)} {one if value == 1 else many}"
