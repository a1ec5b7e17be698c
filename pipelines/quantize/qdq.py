"""ONNX Runtime's static quantiser, told which nodes and which ranges."""

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

# The result of a product is left in float where nothing in eight bits follows: it need not be rounded twice.
_FLOAT_RESULTS = ["Gemm", "MatMul"]


def prepared(model: bytes) -> Any:
    """What ONNX Runtime's `quant_pre_process` makes of a file: batch norms and scalings folded, shapes known.

    Returns:
        onnx.ModelProto.
    """
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory(prefix="mien-quantize-") as folder:
        source, result = Path(folder, "float.onnx"), Path(folder, "prepared.onnx")
        source.write_bytes(model)
        # Symbolic shape inference needs SymPy and finds nothing more where only the batch is open.
        quant_pre_process(str(source), str(result), skip_symbolic_shape=True)
        return onnx.load(str(result))


def activations(graph: Graph, nodes: Sequence[str]) -> list[str]:
    """Tensors whose range the quantiser asks for: what these nodes read and make, weights aside."""
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

    Activations are unsigned, weights signed: of the combinations the fastest on x86 with VNNI.

    Args:
        model: onnx.ModelProto, prepared.
        nodes: to be quantised, at least one.
        ranges: of every one of `activations`.
        per_channel: one scale for each output channel of a weight, else one for the whole.

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
    """The quantiser advises through the root logger to prepare the file, which has been done."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)
