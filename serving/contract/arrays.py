"""How a picture lies in memory: the names every module gives to the same arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""uint8 [height, width, 3], RGB, 0–255."""
Box = tuple[int, int, int, int]
"""left, top, width, height in px; may reach beyond the picture."""
