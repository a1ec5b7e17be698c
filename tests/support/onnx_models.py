"""Small ONNX graphs with the contract's signature, built by hand: no TensorFlow, milliseconds.

The graph is uint8 → [0, 1] → 3×3 convolution + ReLU → average pool (embedding) → linear → softmax. The
first channel is the picture's brightness; with `levels` the class is the nearest brightness level,
so that a test knows what the model answers. The other channels are random convolutions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from serving.contract import (
    EMBEDDING,
    METADATA_KEY,
    NOVELTY,
    ConformalThreshold,
    DetectorFile,
    InputSpec,
    ModelContract,
    NoveltyOutput,
    detector_file,
)

CLASSES = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
DATASET = "5" * 64
CHANNELS = 6
STRIDE = 4
# Logits per unit of squared brightness difference: confident away from the boundaries, not at them.
SHARPNESS = 60.0
Novelty = Literal["sound", "nan", "short", "column", "double"]
"""Output `novelty`: as promised, or NaN, [0] or [batch, 1] declared as [batch], or float64."""


def make_contract(
    *,
    classes: Sequence[str] = CLASSES,
    side: int = 16,
    color: Literal["rgb", "gray"] = "rgb",
    architecture: str = "lenet",
    weights: str = "scratch",
    temperature: float = 1.0,
    dataset: str = DATASET,
    spec: InputSpec | None = None,
) -> ModelContract:
    """A valid contract; every argument has a sensible value, `spec` goes before `side` and `color`."""
    return ModelContract(
        classes=tuple(classes),
        input=spec or InputSpec(height=side, width=side, color=color),
        architecture=architecture,
        weights=weights,
        temperature=temperature,
        dataset=dataset,
    )


def make_full_contract(*, detector: DetectorFile | None = None, side: int = 16) -> ModelContract:
    """A contract with every optional block of version 2, for crops of faces that Haar's cascade found."""
    spec = InputSpec(height=side, width=side, crop="face", detector="haar", margin=0.1)
    return replace(
        make_contract(spec=spec),
        face_detector=detector or haar_file(),
        flip_average=True,
        conformal=ConformalThreshold(threshold=0.125, coverage=0.9, measured_coverage=0.90625),
        novelty=NoveltyOutput(threshold=1.5),
    )


def haar_file() -> DetectorFile:
    """The cascade that comes with the installed OpenCV."""
    file = detector_file("haar")
    return DetectorFile(name=file.name, sha256=hashlib.sha256(file.read_bytes()).hexdigest())


def brightness_levels(count: int) -> tuple[float, ...]:
    """One brightness in (0, 1) per class, evenly spread: 0.5/count, 1.5/count, …"""
    return tuple((index + 0.5) / count for index in range(count))


def write_model(
    path: Path,
    *,
    contract: ModelContract | None = None,
    levels: Sequence[float] | None = None,
    seed: int = 0,
    metadata: str | None = "contract",
    fails_above: float | None = None,
    endless_above: float | None = None,
    external: str | None = None,
    novelty: Novelty = "sound",
) -> Path:
    """Write a model file.

    Args:
        path: of the file; its folder is made.
        contract: what the model promises; a default one without it.
        levels: brightness of each class, in class order: a flat picture of that brightness gets that
            class. Exchange two levels and the model confuses these two classes. Without levels
            all weights are random.
        seed: of the random weights; two seeds give two different files.
        metadata: text under the contract's key; "contract" for the contract itself, None for no key at all.
        fails_above: mean brightness of a whole batch, in [0.5, 1), from which on running the model fails,
            as a graph does that was never run on such a picture.
        endless_above: mean brightness of a whole batch, in [0, 1], from which on the model never answers;
            with 0 it answers nothing.
        external: path of a file, as the model file names it, that holds the class biases (external data).
        novelty: what the output `novelty` is, if the contract promises it.

    Returns:
        `path`.
    """
    contract = contract or make_contract()
    graph = _graph(contract, _weights(contract, levels, seed), fails_above, endless_above)
    if contract.novelty is not None:
        _add_novelty(graph, novelty)
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
        producer_name="tests",
    )
    if metadata is not None:
        text = contract.to_json() if metadata == "contract" else metadata
        helper.set_model_props(model, {METADATA_KEY: text})
    if external is None:
        onnx.checker.check_model(model, full_check=novelty != "column")
    else:
        _move_out(model, external)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


def _add_novelty(graph: onnx.GraphProto, kind: Novelty) -> None:
    """Add the output `novelty`: the largest feature of each picture, which is its brightness or more."""
    dtype = TensorProto.DOUBLE if kind == "double" else TensorProto.FLOAT
    keepdims = int(kind == "column")
    graph.initializer.append(numpy_helper.from_array(np.array([1]), "last_axis"))
    graph.node.append(helper.make_node("ReduceMax", [EMBEDDING, "last_axis"], ["largest"], keepdims=keepdims))
    if kind == "nan":
        graph.node.append(helper.make_node("Neg", ["largest"], ["negative"]))
        graph.node.append(helper.make_node("Log", ["negative"], [NOVELTY]))
    elif kind == "short":
        # None of the values: a length that ONNX Runtime knows only once it runs.
        graph.initializer.append(numpy_helper.from_array(np.float32(1e9), "unreachable"))
        graph.node.append(helper.make_node("Greater", ["largest", "unreachable"], ["chosen"]))
        graph.node.append(helper.make_node("Compress", ["largest", "chosen"], [NOVELTY], axis=0))
    else:
        graph.node.append(helper.make_node("Cast", ["largest"], [NOVELTY], to=dtype))
    graph.output.append(helper.make_tensor_value_info(NOVELTY, dtype, ["batch"]))


def _move_out(model: onnx.ModelProto, location: str) -> None:
    """Have the class biases read from the beginning of another file."""
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "bias")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)


def _weights(contract: ModelContract, levels: Sequence[float] | None, seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    count = len(contract.classes)
    kernel = random.normal(0, 0.3, (CHANNELS, 3, 3, 3))
    kernel[0] = 0
    kernel[0, :, 1, 1] = 1 / 3
    linear = random.normal(0, 2, (CHANNELS, count))
    bias = random.normal(0, 0.5, count)
    if levels is not None:
        # The nearest level: -S·(x - l)² without the part all classes share; a trace of the
        # random channels is left so that two seeds differ.
        prototypes = np.asarray(levels)
        linear *= 1e-3
        linear[0] = 2 * SHARPNESS * prototypes
        bias = -SHARPNESS * prototypes**2
    values = {"kernel": kernel, "linear": linear, "bias": bias}
    return {name: value.astype(np.float32) for name, value in values.items()}


def _graph(
    contract: ModelContract,
    weights: dict[str, np.ndarray],
    fails_above: float | None,
    endless_above: float | None,
) -> onnx.GraphProto:
    height, width, count = contract.input.height, contract.input.width, len(contract.classes)
    grid = [-(-height // STRIDE), -(-width // STRIDE)]
    constants = {
        **weights,
        "scale": np.float32(255),
        "channels": np.array([1]),
        "flat": np.array([0, CHANNELS]),
    }
    node = helper.make_node
    value = helper.make_tensor_value_info
    nodes = [
        node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        node("Div", ["float", "scale"], ["unit"]),
        node("Transpose", ["unit"], ["planes"], perm=[0, 3, 1, 2]),
        node("Conv", ["planes", "kernel"], ["convolved"], strides=[STRIDE] * 2, pads=[1, 1, 1, 1]),
        node("Relu", ["convolved"], ["features"]),
        node("GlobalAveragePool", ["features"], ["pooled"]),
        node("Reshape", ["pooled", "flat"], ["embedding"]),
        node("Gemm", ["embedding", "linear", "bias"], ["logits"]),
        node("Softmax", ["logits"], ["probabilities"], axis=1),
        node("ReduceMean", ["features", "channels"], ["mean"], keepdims=0),
        node("Tanh", ["mean"], ["heatmap"]),
    ]
    if fails_above is not None:
        # Element 1 of a list of one: ONNX Runtime refuses to look it up.
        constants |= {"limit": np.float32(fails_above), "nothing": np.zeros(1, np.float32)}
        nodes[-4:-3] = [
            node("ReduceMean", ["unit"], ["level"], keepdims=0),
            node("Div", ["level", "limit"], ["times"]),
            node("Floor", ["times"], ["whole"]),
            node("Cast", ["whole"], ["index"], to=TensorProto.INT64),
            node("Gather", ["nothing", "index"], ["added"]),
            node("Gemm", ["embedding", "linear", "bias"], ["plain"]),
            node("Add", ["plain", "added"], ["logits"]),
        ]
    if endless_above is not None:
        # A loop without a bound on its rounds, whose condition stays as it was at the beginning.
        constants["endless"] = np.float32(endless_above)
        body = helper.make_graph(
            [node("Identity", ["condition"], ["still"]), node("Identity", ["before"], ["after"])],
            "round",
            [
                value("round", TensorProto.INT64, []),
                value("condition", TensorProto.BOOL, []),
                value("before", TensorProto.FLOAT, [count]),
            ],
            [value("still", TensorProto.BOOL, []), value("after", TensorProto.FLOAT, [count])],
        )
        at = next(index for index, one in enumerate(nodes) if "bias" in one.input)
        nodes[at].input[2] = "looped"
        nodes[at:at] = [
            node("ReduceMean", ["unit"], ["brightness"], keepdims=0),
            node("GreaterOrEqual", ["brightness", "endless"], ["never"]),
            node("Loop", ["", "never", "bias"], ["looped"], body=body),
        ]
    return helper.make_graph(
        nodes,
        "tests",
        [value("image", TensorProto.UINT8, ["batch", height, width, 3])],
        [
            value("probabilities", TensorProto.FLOAT, ["batch", count]),
            value("heatmap", TensorProto.FLOAT, ["batch", *grid]),
            value("embedding", TensorProto.FLOAT, ["batch", CHANNELS]),
        ],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
