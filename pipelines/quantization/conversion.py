"""From the bytes of a float model and some pictures to the bytes of its int8 variant, step by step.

graph = prepared(model, "lenet-int8")
nodes = chosen(graph, settings)
ranges = observed(graph, nodes, pictures, settings=settings, architecture="lenet-int8")
content = written(graph, contract, nodes=nodes, ranges=ranges, per_channel=settings.per_channel)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.core.errors import QuantizationFailed
from pipelines.core.params import QuantizationParams
from pipelines.core.variants import architecture_of
from pipelines.export.canonical import canonical
from pipelines.quantization import qdq
from pipelines.quantization.calibration import Observed
from pipelines.quantization.floating import int8_nodes
from pipelines.quantization.graph import Graph
from pipelines.quantization.ranges import Range
from pipelines.quantization.rewriting import rewritten
from serving.contract.arrays import Image
from serving.contract.model import METADATA_KEY, ModelContract


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
