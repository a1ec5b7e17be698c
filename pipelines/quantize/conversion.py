"""From the bytes of a float model and some pictures to the bytes of its int8 variant, step by step.

graph = prepared(model, "lenet-int8")
nodes = chosen(graph, settings)
ranges = observed(graph, nodes, pictures, settings=settings, architecture="lenet-int8")
content = written(graph, contract, nodes=nodes, ranges=ranges, per_channel=settings.per_channel)

Is the int8 file the same model still? Its answers beside those of its float twin, on the same pictures.
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
from serving.contract.model import EMBEDDING, HEATMAP, METADATA_KEY, OUTPUTS, PROBABILITIES, ModelContract
from serving.inference.onnx_classifier import OnnxClassifier, Prediction


def converted(
    model: bytes, contract: ModelContract, pictures: Image, *, settings: QuantizationParams
) -> bytes:
    """All steps.

    Args:
        model: the float file.
        contract: of the result.
        pictures: to see activations on, uint8 [n, H, W, 3].
        settings: of this architecture.

    Raises:
        QuantizationFailed: there is nothing to quantise, or the result is no valid graph.
    """
    name = contract.architecture
    graph = prepared(model, name)
    nodes = chosen(graph, settings)
    ranges = observed(graph, nodes, pictures, settings=settings, architecture=name)
    return written(graph, contract, nodes=nodes, ranges=ranges, per_channel=settings.per_channel)


def prepared(model: bytes, architecture: str) -> Any:
    """The float graph as it is quantised, onnx.ModelProto: folded by ONNX Runtime, then rewritten.

    Raises:
        QuantizationFailed: ONNX or ONNX Runtime can make nothing of it.
    """
    try:
        return rewritten(qdq.prepared(model))
    # ONNX and ONNX Runtime have no root of errors in common.
    except Exception as error:
        raise failed(architecture, f"the float graph cannot be prepared ({_one_line(error)})") from error


def chosen(graph: Any, settings: QuantizationParams) -> tuple[str, ...]:
    """Names of the nodes that compute in eight bits."""
    return int8_nodes(Graph(graph), between=settings.scope == "graph", keep_float=settings.keep_float)


def observed(
    graph: Any, nodes: tuple[str, ...], pictures: Image, *, settings: QuantizationParams, architecture: str
) -> dict[str, Range]:
    """Tensor → range, of all that these nodes read and make.

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
    """The int8 file, in canonical form and with its contract.

    Raises:
        QuantizationFailed: the result is no valid graph.
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


def failed(architecture: str, reason: str) -> QuantizationFailed:
    """The error that says what was wrong and where settings stand."""
    return QuantizationFailed(
        architecture=architecture,
        reason=reason,
        remedy=f"change `quantization.{architecture_of(architecture)}` in params.yaml "
        "(`python -m benchmarks.quantization` finds settings)",
    )


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


# The kernels add whole numbers: in a batch or alone, what is left to differ is float32 at both ends.
_BATCH_TOLERANCE = 1e-4


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far an int8 file is from its float twin."""

    pictures: int
    same_answer: float
    """Share of pictures with the same most probable class."""
    differences: dict[str, float]
    """Output → largest difference; of the embedding relative to its largest value, of the heatmap, which
    shows the most probable class, among pictures of the same answer."""


def agreement(twin: OnnxClassifier, quantized: OnnxClassifier, pictures: Image) -> Agreement:
    """Compare both on uint8 [n, H, W, 3], n ≥ 1."""
    expected, got = twin.predict(pictures), quantized.predict(pictures)
    same = expected.probabilities.argmax(axis=1) == got.probabilities.argmax(axis=1)
    largest = max(float(np.abs(expected.embedding).max()), 1e-12)
    scale = dict.fromkeys(OUTPUTS, 1.0) | {EMBEDDING: largest}
    rows = dict.fromkeys(OUTPUTS, np.full(len(same), True)) | {HEATMAP: same}
    return Agreement(
        pictures=len(pictures),
        same_answer=float(same.mean()),
        differences={
            name: _largest(getattr(expected, name)[rows[name]], getattr(got, name)[rows[name]]) / scale[name]
            for name in OUTPUTS
        },
    )


def fault(twin: OnnxClassifier, quantized: OnnxClassifier, pictures: Image) -> str | None:
    """What makes an int8 file useless, in a few words; None if nothing does.

    Args:
        twin: the float model.
        quantized: its int8 variant.
        pictures: uint8 [n, H, W, 3], n ≥ 2; those that the twin tells apart best are looked at.
    """
    probabilities = twin.predict(pictures).probabilities
    count = min(max(BATCHES), len(pictures))
    chosen = pictures[varied(probabilities, count, first=np.full(len(pictures), True))]
    together = quantized.predict(chosen)
    alone = [quantized.predict(chosen[index : index + 1]) for index in range(count)]
    return _broken(together) or _alike(together) or _depends_on_batch(together, alone)


def _broken(answers: Prediction) -> str | None:
    broken = [name for name in OUTPUTS if not np.isfinite(getattr(answers, name)).all()]
    return f"`{broken[0]}` holds values that are not finite" if broken else None


def _alike(answers: Prediction) -> str | None:
    apart = max(least_difference(getattr(answers, name)) for name in (PROBABILITIES, EMBEDDING))
    return None if apart > 0 else "two pictures that the float model tells apart get the same answer"


def _depends_on_batch(together: Prediction, alone: list[Prediction]) -> str | None:
    for name in OUTPUTS:
        single = np.concatenate([getattr(answer, name) for answer in alone])
        if not (apart := _largest(single, getattr(together, name))) <= _BATCH_TOLERANCE:
            return f"`{name}` of one picture alone and in a batch differ by {apart:.2g}"
    return None


def _largest(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    return float(np.abs(first - second).max(initial=0.0))
