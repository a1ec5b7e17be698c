"""What values activations take on real pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.quantization.ranges import Histogram, Method, Range, entropy, minmax, percentile
from serving.contract.arrays import Image
from serving.contract.model import IMAGE
from serving.sessions import open_session

# Eight for each of 256 levels: fine enough to choose an end by, few enough to count quickly.
_BINS = 2048

Tensors = dict[str, NDArray[np.float32]]


class Observed:
    """Values of some tensors of one model over pictures, one at a time: memory stays flat."""

    def __init__(self, model: bytes, tensors: Sequence[str], pictures: Image) -> None:
        """Prepare; nothing runs yet.

        Args:
            model: the float graph, as a file.
            tensors: names of float32 tensors made inside it.
            pictures: uint8 [n, H, W, 3], n ≥ 1.
        """
        self._names = list(tensors)
        self._session = open_session(_with_outputs(model, self._names), threads=1)
        self._pictures = pictures

    def ranges(self, method: Method) -> dict[str, Range]:
        """Tensor → what eight bits have to cover of it.

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
