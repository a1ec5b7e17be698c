"""Learning rate of every step of a phase, as plain numbers."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray


def learning_rates(
    kind: Literal["constant", "cosine"], peak: float, *, steps: int, warmup_steps: int
) -> NDArray[np.float32]:
    """Rates of a whole phase: a linear rise to `peak`, then constant or half a cosine down to 0.

    The cosine is that of Loshchilov & Hutter, 2017, "SGDR", without restarts. The rise takes at most
    half of the phase, so that a short one still reaches its peak.

    Args:
        kind: the shape after the rise.
        peak: highest rate.
        steps: of the whole phase, at least 1.
        warmup_steps: length of the rise.

    Returns:
        float32 [steps], each in (0, peak].
    """
    warmup = min(warmup_steps, steps // 2)
    rise = peak * (np.arange(warmup) + 1) / (warmup + 1)
    rest = np.arange(steps - warmup)
    if kind == "constant":
        fall = np.full(len(rest), peak)
    else:
        fall = peak * 0.5 * (1 + np.cos(np.pi * rest / len(rest)))
    return np.concatenate([rise, fall]).astype(np.float32)


def as_keras_schedule(rates: NDArray[np.float32]) -> Any:
    """A `keras.optimizers.schedules.LearningRateSchedule` that looks the step up in `rates`."""
    import keras

    class Lookup(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]  # keras ships no types
        def __call__(self, step: Any) -> Any:
            last = len(rates) - 1
            return keras.ops.take(rates, keras.ops.minimum(keras.ops.cast(step, "int32"), last))

        def get_config(self) -> dict[str, Any]:
            return {"rates": rates.tolist()}

    return Lookup()
