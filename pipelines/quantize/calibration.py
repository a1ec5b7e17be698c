"""Observe activations on validation pictures, and choose the range of values that int8 covers.

A wide range rounds all values coarsely, a narrow one clips values outside. `minmax` clips nothing,
`percentile` clips very rare values, `entropy` clips such that the loss of information is smallest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from serving.contract.arrays import Image
from serving.contract.model import IMAGE
from serving.inference.sessions import open_session

Method = Literal["minmax", "percentile", "entropy"]

Range = tuple[float, float]
"""Lowest and highest value, with 0 between them: zero padding must be exact."""

# Wu et al., 2020 ("Integer quantization for deep learning inference"), table 5: of the percentiles tried, the
# one that serves most networks.
PERCENTILE = 99.99
# The number of values of an unsigned byte.
_LEVELS = 256
# Part of the whole range that `entropy` tries. With 2048 bins an eighth is one bin for each level.
_PARTS = np.linspace(0.125, 1, 57)


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """How often one tensor took which values."""

    counts: NDArray[np.int64]
    """[bins], equally wide, from the lowest to the highest value; without zeros."""
    low: float
    high: float
    zeros: int = 0
    """Values that are exactly 0, as half of those behind a ReLU."""


def minmax(low: float, high: float) -> Range:
    """The whole range of the observed values."""
    return min(low, 0.0), max(high, 0.0)


def percentile(histogram: Histogram, percent: float = PERCENTILE) -> Range:
    """The middle `percent` of all values, the rest being cut off on both sides alike."""
    bins = len(histogram.counts)
    if histogram.low == histogram.high:
        return minmax(histogram.low, histogram.high)
    counts = histogram.counts.copy()
    zero = int(-histogram.low / (histogram.high - histogram.low) * bins)
    counts[min(max(zero, 0), bins - 1)] += histogram.zeros
    shares = np.cumsum(counts) / max(counts.sum(), 1)
    tail = (100 - percent) / 200
    edges = np.linspace(histogram.low, histogram.high, bins + 1)
    # Up to rounding of the sum: the bin in which the share is reached is kept.
    first = int(np.searchsorted(shares, tail, side="right"))
    last = int(np.searchsorted(shares, 1 - tail - 1e-12))
    return minmax(float(edges[first]), float(edges[min(last, len(shares) - 1) + 1]))


def entropy(histogram: Histogram) -> Range:
    """Find the part of the range whose 256 levels preserve most information (Migacz, 2017).

    Both ends are drawn in towards 0 by the same factor; the one with the least Kullback–Leibler divergence
    wins, and of several the widest. Zeros do not count: they are exact in any range, and their
    number would outweigh the rest.
    """
    low, high = minmax(histogram.low, histogram.high)
    if low == high or histogram.low == histogram.high:
        return low, high
    divergences = [_divergence(histogram, part * low, part * high) for part in _PARTS]
    best = len(_PARTS) - 1 - int(np.argmin(divergences[::-1]))
    return float(_PARTS[best] * low), float(_PARTS[best] * high)


def _divergence(histogram: Histogram, low: float, high: float) -> float:
    """Of what is left of the distribution inside [low, high] from the same in 256 levels."""
    counts = histogram.counts.astype(np.float64)
    centres = histogram.low + (np.arange(len(counts)) + 0.5) * (histogram.high - histogram.low) / len(counts)
    inside = (centres >= low) & (centres <= high)
    if inside.sum() < 2:
        return np.inf
    kept, reference = counts[inside], counts[inside].copy()
    # Values outside of the range are clipped to its ends.
    reference[0] += counts[centres < low].sum()
    reference[-1] += counts[centres > high].sum()
    level = np.minimum((centres[inside] - low) / (high - low) * _LEVELS, _LEVELS - 1).astype(int)
    filled = kept > 0
    sums = np.bincount(level, weights=kept, minlength=_LEVELS)
    members = np.bincount(level, weights=filled, minlength=_LEVELS)
    spread = np.where(filled, sums[level] / np.maximum(members[level], 1), 0)
    return _kullback_leibler(reference, spread)


def _kullback_leibler(reference: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Nats; of two tables of counts, neither of them normalised."""
    seen = reference > 0
    p = reference[seen] / reference.sum()
    # A level without members gets a tiny probability instead of zero.
    q = np.maximum(other[seen] / max(other.sum(), 1e-12), 1e-12)
    return float((p * np.log(p / q)).sum())


# Eight for each of 256 levels: fine enough to choose an end by, few enough to count quickly.
_BINS = 2048

Tensors = dict[str, NDArray[np.float32]]


class Observed:
    """Values of some tensors of one model over pictures, one tensor at a time, in constant memory."""

    def __init__(self, model: bytes, tensors: Sequence[str], pictures: Image) -> None:
        """Create the observer; nothing runs yet.

        Args:
            model: the float graph, as a file.
            tensors: names of float32 tensors made inside it.
            pictures: uint8 [n, H, W, 3], n ≥ 1.
        """
        self._names = list(tensors)
        self._session = open_session(_with_outputs(model, self._names), threads=1)
        self._pictures = pictures

    def ranges(self, method: Method) -> dict[str, Range]:
        """Tensor → range that int8 has to cover.

        Raises:
            FloatingPointError: a tensor held a value that is not finite.
        """
        extremes = self._extremes()
        if method == "minmax":
            return {name: minmax(*found) for name, found in extremes.items()}
        choose = percentile if method == "percentile" else entropy
        return {name: choose(found) for name, found in self._histograms(extremes).items()}

    def _extremes(self) -> dict[str, Range]:
        found = dict.fromkeys(self._names, (np.inf, -np.inf))
        for values in self._run():
            for name, array in values.items():
                low, high = found[name]
                # NumPy's, for Python's own pass over a NaN.
                found[name] = (float(np.minimum(low, array.min())), float(np.maximum(high, array.max())))
        broken = [name for name, extremes in found.items() if not np.isfinite(extremes).all()]
        if broken:
            raise FloatingPointError(f"`{broken[0]}` holds values that are not finite")
        return found

    def _histograms(self, extremes: Mapping[str, Range]) -> dict[str, Histogram]:
        counts = {name: np.zeros(_BINS, np.int64) for name in self._names}
        zeros = dict.fromkeys(self._names, 0)
        for values in self._run():
            for name, array in values.items():
                others = array[array != 0]
                counts[name] += _counted(others, *extremes[name])
                zeros[name] += array.size - others.size
        return {
            name: Histogram(counts=counts[name], low=low, high=high, zeros=zeros[name])
            for name, (low, high) in extremes.items()
        }

    def _run(self) -> Iterator[Tensors]:
        for index in range(len(self._pictures)):
            values = self._session.run(self._names, {IMAGE: self._pictures[index : index + 1]})
            yield dict(zip(self._names, values, strict=True))


def _counted(array: NDArray[np.float32], low: float, high: float) -> NDArray[np.int64]:
    """How many of [n] values lie in each bin of [low, high]."""
    scale = _BINS / (high - low) if high > low else 0.0
    index = ((array - np.float32(low)) * np.float32(scale)).astype(np.int32)
    return np.bincount(np.clip(index, 0, _BINS - 1), minlength=_BINS)


def _with_outputs(model: bytes, tensors: Sequence[str]) -> bytes:
    import onnx
    from onnx import TensorProto, helper

    proto = onnx.load_from_string(model)
    known = {output.name for output in proto.graph.output}
    proto.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in tensors if name not in known
    )
    content: bytes = proto.SerializeToString()
    return content
