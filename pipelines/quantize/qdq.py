"""Call ONNX Runtime's static quantiser with given nodes and ranges."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.quantize.calibration import Range
from pipelines.quantize.graph import Graph

# Results of products stay in float32 if no int8 operator follows, which avoids a second rounding.
_FLOAT_RESULTS = ["Gemm", "MatMul"]


def prepared(model: bytes) -> Any:
    """Run ONNX Runtime's `quant_pre_process`: folds batch norms and scalings, infers shapes.

    Returns:
        onnx.ModelProto.
    """
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory(prefix="mien-quantize-") as folder:
        source, result = Path(folder, "float.onnx"), Path(folder, "prepared.onnx")
        source.write_bytes(model)
        # Symbolic shape inference needs SymPy and finds nothing more if only the batch size is open.
        quant_pre_process(str(source), str(result), skip_symbolic_shape=True)
        return onnx.load(str(result))


def activations(graph: Graph, nodes: Sequence[str]) -> list[str]:
    """List tensors whose ranges the quantiser needs: inputs and outputs of these nodes, except weights."""
    wanted = set(nodes)
    found = [
        name
        for node in graph.nodes()
        if node.name in wanted
        for name in (*node.input[:2], *node.output)
        if name and not graph.is_constant(name) and graph.is_float(name)
    ]
    return list(dict.fromkeys(found))


def quantized(model: Any, nodes: Sequence[str], ranges: Mapping[str, Range], *, per_channel: bool) -> Any:
    """Insert the pairs of `QuantizeLinear` and `DequantizeLinear` that ONNX Runtime turns into int8 kernels.

    Activations are unsigned, weights signed: the fastest combination on x86 with VNNI.

    Args:
        model: onnx.ModelProto, prepared.
        nodes: nodes to quantise, at least one.
        ranges: range of every tensor of `activations`.
        per_channel: one scale for each output channel of a weight, otherwise one for the whole weight.

    Returns:
        onnx.ModelProto.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_static
    from onnxruntime.quantization.calibrate import TensorData, TensorsData, save_tensors_data

    operators = {node.op_type for node in model.graph.node if node.name in set(nodes)}
    values = {
        name: TensorData(lowest=np.float32(low), highest=np.float32(high))
        for name, (low, high) in ranges.items()
    }
    with tempfile.TemporaryDirectory(prefix="mien-quantize-") as folder, _quiet():
        source, result, cache = (Path(folder, name) for name in ("in.onnx", "out.onnx", "ranges.json"))
        onnx.save(model, str(source))
        save_tensors_data(TensorsData(CalibrationMethod.MinMax, values), cache)
        quantize_static(
            str(source),
            str(result),
            per_channel=per_channel,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=list(nodes),
            op_types_to_quantize=sorted(operators),
            calibrate_method=CalibrationMethod.MinMax,
            calibration_cache_path=cache,
            extra_options={"OpTypesToExcludeOutputQuantization": _FLOAT_RESULTS},
        )
        return onnx.load(str(result))


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the quantiser's advice to prepare the file, which has already been done."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)
