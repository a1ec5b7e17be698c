"""Numbers as they go into JSON: rounded, and null where they are undefined."""

from __future__ import annotations

import math
from typing import SupportsFloat

# Six decimals: far below any metric's own uncertainty, far above what another processor's
# rounding changes, so that two machines write the same file.
DECIMALS = 6


def rounded(value: SupportsFloat | None, decimals: int = DECIMALS) -> float | None:
    """`value` with `decimals` places; None for None and NaN."""
    if value is None or math.isnan(number := float(value)):
        return None
    return round(number, decimals)
