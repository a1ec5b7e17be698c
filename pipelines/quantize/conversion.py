"""Convert a float32 model to its int8 variant, and compare the predictions of the two on the same pictures.

graph = prepared(model, "lenet-int8")
nodes = chosen(graph, settings)
ranges = observed(graph, nodes, pictures, settings=settings, architecture="lenet-int8")
content = written(graph, contract, nodes=nodes, ranges=ranges, per_channel=settings.per_channel)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.core.errors import QuantizationFailed
from pipelines.core.params import QuantizationParams
from pipelines.core.variants import architecture_of
from pipelines.export.canonical import canonical
from pipelines.export.parity import BATCHES, least_difference, varied
from pipelines.quantize import qdq
from pipelines.quantize.calibration import Observed, Range
from pipelines.quantize.graph import Graph
from pipelines.quantize.mixed_precision import int8_nodes
from pipelines.quantize.rewriting import rewritten
from serving.contract.arrays import Image
from serving.contract.model import EMBEDDING, HEATMAP, METADATA_KEY, NOVELTY, PROBABILITIES, ModelContract
from serving.inference.onnx_classifier import OnnxClassifier, Prediction


def converted(
    model: bytes, contract: ModelContract, pictures: Image, *, settings: QuantizationParams
) -> bytes:
    """Convert a float32 model to int8, in all steps.

    Args:
        model: bytes of the float32 file.
        contract: contract of the result.
        pictures: calibration pictures, uint8 [n, H, W, 3].
        settings: settings of this architecture.

    Raises:
        QuantizationFailed: there is nothing to quantise, or the result is not a valid graph.
    """
    name = contract.architecture
    graph = prepared(model, name)
    nodes = chosen(graph, settings)
    ranges = observed(graph, nodes, pictures, settings=settings, architecture=name)
    return written(graph, contract, nodes=nodes, ranges=ranges, per_channel=settings.per_channel)


def prepared(model: bytes, architecture: str) -> Any:
    """Prepare the float32 graph for quantisation, onnx.ModelProto: folded by ONNX Runtime, then rewritten.

    Raises:
        QuantizationFailed: ONNX or ONNX Runtime cannot process the model.
    """
    try:
        return rewritten(qdq.prepared(model))
    # ONNX and ONNX Runtime have no common base class of errors.
    except Exception as error:
        raise failed(architecture, f"the float graph cannot be prepared ({_one_line(error)})") from error


def chosen(graph: Any, settings: QuantizationParams) -> tuple[str, ...]:
    """Choose the nodes that compute in int8; return their names."""
    return int8_nodes(Graph(graph), between=settings.scope == "graph", keep_float=settings.keep_float)


def observed(
    graph: Any, nodes: tuple[str, ...], pictures: Image, *, settings: QuantizationParams, architecture: str
) -> dict[str, Range]:
    """Observe the ranges of all tensors that these nodes read and write: tensor → range.

    Raises:
        QuantizationFailed: there are no such nodes, or activations are not finite.
    """
    if not nodes:
        raise failed(architecture, f"no layer is left in eight bits with keep_float {settings.keep_float}")
    tensors = qdq.activations(Graph(graph), nodes)
    try:
        return Observed(graph.SerializeToString(), tensors, pictures).ranges(settings.ranges)
    except FloatingPointError as error:
        raise failed(architecture, f"on the validation pictures {error}") from error


def written(
    graph: Any,
    contract: ModelContract,
    *,
    nodes: tuple[str, ...],
    ranges: Mapping[str, Range],
    per_channel: bool,
) -> bytes:
    """Quantise the graph; return the int8 file in canonical form with its contract.

    Raises:
        QuantizationFailed: the result is not a valid graph.
    """
    import onnx

    try:
        result = canonical(qdq.quantized(graph, nodes, ranges, per_channel=per_channel))
        result.metadata_props.add(key=METADATA_KEY, value=contract.to_json())
        onnx.checker.check_model(result, full_check=True)
    except Exception as error:
        raise failed(contract.architecture, f"no valid graph ({_one_line(error)})") from error
    content: bytes = result.SerializeToString(deterministic=True)
    return content


def with_contract(model: bytes, contract: ModelContract) -> bytes:
    """The same file with another contract."""
    import onnx

    proto = onnx.load_from_string(model)
    del proto.metadata_props[:]
    proto.metadata_props.add(key=METADATA_KEY, value=contract.to_json())
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def failed(architecture: str, reason: str) -> QuantizationFailed:
    """Create an error whose remedy names the settings of the architecture."""
    return QuantizationFailed(
        architecture=architecture,
        reason=reason,
        remedy=f"change `quantization.{architecture_of(architecture)}` in params.yaml "
        "(`python -m benchmarks.quantization` finds settings)",
    )


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


# The int8 kernels add integers, so batch size changes only the float32 operations before and after them.
_BATCH_TOLERANCE = 1e-4
# Novelty divides differences of embeddings by their standard deviation, which enlarges the last bits.
_NOVELTY_TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How much the outputs of an int8 file differ from those of the float32 model."""

    pictures: int
    same_answer: float
    """Share of pictures with the same predicted class."""
    differences: dict[str, float]
    """Output → largest difference; for the embedding relative to its largest value, for the heatmap, which
    shows the predicted class, among pictures with the same predicted class."""


def agreement(float_model: OnnxClassifier, quantized: OnnxClassifier, pictures: Image) -> Agreement:
    """Compare both models on uint8 [n, H, W, 3], n ≥ 1."""
    expected, got = float_model.predict(pictures), quantized.predict(pictures)
    same = expected.probabilities.argmax(axis=1) == got.probabilities.argmax(axis=1)
    largest = max(float(np.abs(expected.embedding).max()), 1e-12)
    names = float_model.contract.outputs
    scale = dict.fromkeys(names, 1.0) | {EMBEDDING: largest}
    rows = dict.fromkeys(names, np.full(len(same), True)) | {HEATMAP: same}
    return Agreement(
        pictures=len(pictures),
        same_answer=float(same.mean()),
        differences={
            name: _largest(getattr(expected, name)[rows[name]], getattr(got, name)[rows[name]]) / scale[name]
            for name in names
        },
    )


def fault(float_model: OnnxClassifier, quantized: OnnxClassifier, pictures: Image) -> str | None:
    """Describe a defect that makes an int8 file unusable; None if there is none.

    Args:
        float_model: the float32 model.
        quantized: its int8 variant.
        pictures: uint8 [n, H, W, 3], n ≥ 2; the pictures with the most different float32 probabilities are
            used.
    """
    probabilities = float_model.predict(pictures).probabilities
    count = min(max(BATCHES), len(pictures))
    chosen = pictures[varied(probabilities, count, first=np.full(len(pictures), True))]
    together = quantized.predict(chosen)
    alone = [quantized.predict(chosen[index : index + 1]) for index in range(count)]
    return _broken(together) or _alike(together) or _depends_on_batch(together, alone)


def _broken(answers: Prediction) -> str | None:
    broken = [name for name, values in answers.arrays().items() if not np.isfinite(values).all()]
    return f"`{broken[0]}` holds values that are not finite" if broken else None


def _alike(answers: Prediction) -> str | None:
    apart = max(least_difference(getattr(answers, name)) for name in (PROBABILITIES, EMBEDDING))
    return (
        None if apart > 0 else "two pictures with different float32 predictions get the same int8 prediction"
    )


def _depends_on_batch(together: Prediction, alone: list[Prediction]) -> str | None:
    for name, values in together.arrays().items():
        single = np.concatenate([answer.arrays()[name] for answer in alone])
        tolerance = _NOVELTY_TOLERANCE if name == NOVELTY else _BATCH_TOLERANCE
        if not (apart := _largest(single, values)) <= tolerance:
            return f"`{name}` of one picture alone and in a batch differ by {apart:.2g}"
    return None


def _largest(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    return float(np.abs(first - second).max(initial=0.0))
