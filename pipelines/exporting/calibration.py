"""The temperature that makes confidences honest.

Guo et al., 2017, "On calibration of modern neural networks".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Networks of the paper come out between 1 and 3; beyond these bounds one is not miscalibrated but broken.
LEAST, MOST = 0.05, 20.0
# Three decimals change no probability visibly, and hide the last bits in which two processors differ.
_DECIMALS = 3


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The temperature and what it did on the data it was fitted to."""

    temperature: float
    """In [LEAST, MOST], three decimals."""
    nll_before: float
    """Mean negative log likelihood at temperature 1, nats."""
    nll_after: float
    """The same at `temperature`."""


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Calibration:
    """Find the temperature with the least negative log likelihood.

    Args:
        logits: [n, classes].
        labels: class indices, [n].
    """
    from scipy.optimize import minimize_scalar

    values = logits.astype(np.float64)
    # Over log T the likelihood has one minimum and both directions the same scale.
    found = minimize_scalar(
        lambda exponent: negative_log_likelihood(values, labels, temperature=math.exp(exponent)),
        bounds=(math.log(LEAST), math.log(MOST)),
        method="bounded",
        options={"xatol": 1e-7},
    )
    temperature = round(math.exp(found.x), _DECIMALS)
    return Calibration(
        temperature=temperature,
        nll_before=negative_log_likelihood(values, labels, temperature=1.0),
        nll_after=negative_log_likelihood(values, labels, temperature=temperature),
    )


def negative_log_likelihood(logits: NDArray[Any], labels: NDArray[np.int64], *, temperature: float) -> float:
    """Mean −log p(label), nats; `logits` [n, classes] are divided by `temperature`."""
    from scipy.special import log_softmax

    scores = log_softmax(logits / temperature, axis=1)
    return float(-scores[np.arange(len(labels)), labels].mean())
