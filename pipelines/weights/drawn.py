"""Weights of a backbone that was pretrained on drawn faces: one safetensors file, int8 per output channel.

Each tensor of two or more dimensions is stored as int8 with a float32 scale for each output channel,
w ≈ scale · q with q in −127…127 (symmetric, the largest magnitude of a channel is 127); vectors (biases,
batch norm) are float32. `python -m pipelines.pretrain` writes the files; networks compute with float32.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from pipelines.architectures import load_architecture
from pipelines.core.io import replacing
from pipelines.core.params import ModelParams

DRAWN = "drawn"
"""Origin of these weights, as the contract names it."""
SHIPPED = Path(__file__).parent / "drawn_faces"
"""Folder of the files that come with the project: `ARCHITECTURE.safetensors`."""
_FORMAT = "mien drawn 1"
_LEVELS = 127
_OTHER_OPTIONS = frozenset({"checkpoint", "dropout", "batch_norm_momentum"})
"""Options of architectures that change no weight's shape."""


@dataclass(frozen=True, kw_only=True)
class DrawnCard:
    """What a file of drawn weights says about itself."""

    architecture: str
    options: Mapping[str, JsonValue]
    """Those of `models.NAME.options` that decide the shapes of the weights, defaults included."""
    pictures: int
    """Drawn pictures that the backbone learned from."""
    steps: int
    """Batches of the whole pretraining."""
    sizes_px: Sequence[int]
    """Sides of the pictures, in the order of the phases."""
    processor_s: float
    """Processor time of the training."""
    figures: Mapping[str, float]
    """Errors on pictures that it did not learn from."""


def write_drawn(path: Path, variables: Mapping[str, NDArray[np.float32]], card: DrawnCard) -> None:
    """Write one file, whole or not at all.

    Args:
        path: of the file.
        variables: the backbone's, by name, in the backbone's order.
        card: what to say about them.
    """
    from safetensors.numpy import save

    tensors: dict[str, NDArray[Any]] = {}
    for place, (name, values) in enumerate(variables.items()):
        key = f"{place:04d}/{name}"
        if values.ndim < 2:
            # Not ascontiguousarray, which gives a number a dimension.
            tensors[key] = np.array(values, np.float32, order="C")
            continue
        quantized, scale = quantize(values)
        tensors[key], tensors[f"{key}/scale"] = quantized, scale
    metadata = {"format": _FORMAT, "card": json.dumps(asdict(card), sort_keys=True)}
    with replacing(path) as temporary:
        temporary.write_bytes(save(tensors, metadata=metadata))


def read_card(path: Path) -> DrawnCard:
    """Read what a file says about itself; a few kilobytes of it.

    Raises:
        ValueError: it is not such a file.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        # The format's own limit on the header.
        header = file.read(min(length, 100_000_000))
    try:
        metadata = json.loads(header)["__metadata__"]
        if metadata["format"] != _FORMAT:
            raise ValueError(f"format is {metadata['format']!r}, expected {_FORMAT!r}")
        return DrawnCard(**json.loads(metadata["card"]))
    except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path.name} is not a file of `pipelines.pretrain` ({error})") from error


def read_drawn(path: Path) -> list[NDArray[np.float32]]:
    """Read the variables, dequantised, in the backbone's order.

    Raises:
        ValueError: it is not an intact file of this kind.
        OSError: it cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path.name} is not an intact safetensors file ({error})") from error
    values = []
    for key in sorted(name for name in tensors if not name.endswith("/scale")):
        tensor = tensors[key]
        values.append(dequantize(tensor, tensors[f"{key}/scale"]) if tensor.dtype == np.int8 else tensor)
    return values


def load_drawn(backbone: Any, path: Path) -> None:
    """Load a file into a Keras backbone.

    Raises:
        ValueError: it is damaged, or of a network with other shapes.
    """
    variables, values = _weights(backbone), read_drawn(path)
    expected, got = [tuple(variable.shape) for variable in variables], [value.shape for value in values]
    if expected != got:
        raise ValueError(f"its {len(got)} arrays do not have the shapes of the network's {len(expected)}")
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def drawn_variables(backbone: Any) -> dict[str, NDArray[np.float32]]:
    """The variables of a Keras backbone that a file holds, by path."""
    return {variable.path: np.asarray(variable) for variable in _weights(backbone)}


def _weights(backbone: Any) -> list[Any]:
    # Seeds of random layers are variables too; they belong to a training, not to the weights.
    return [variable for variable in backbone.weights if "seed_generator" not in variable.path]


def shape_options(architecture: str, params: ModelParams) -> Mapping[str, JsonValue]:
    """The options that decide the shapes of an architecture's weights, defaults included.

    Raises:
        ParamsError: an unknown key or a value out of range.
    """
    parsed = load_architecture(architecture).parse_options(params.options).model_dump(mode="json")
    return {key: value for key, value in parsed.items() if key not in _OTHER_OPTIONS}


def problem_with_drawn(path: Path, architecture: str, params: ModelParams) -> str | None:
    """Why a file does not fit an architecture with its options; None if it does."""
    try:
        card = read_card(path)
    except (OSError, ValueError) as error:
        return f"{path}: {error}"
    wanted = shape_options(architecture, params)
    if (card.architecture, dict(card.options)) == (architecture, wanted):
        return None
    differing = [key for key in wanted if card.options.get(key) != wanted[key]]
    return (
        f"the drawn weights are of {card.architecture} with "
        + ", ".join(f"{key}: {card.options.get(key)}" for key in differing)
        + ", params.yaml has "
        + ", ".join(f"{key}: {wanted[key]}" for key in differing)
    )


def quantize(values: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """int8 values and the scale of each output channel.

    Args:
        values: float32 [..., out]; a depthwise kernel [rows, columns, in, 1] has a scale for each `in`.
    """
    axis = _channel_axis(values.shape)
    others = tuple(index for index in range(values.ndim) if index != axis)
    scale = np.abs(values).max(axis=others, keepdims=True) / _LEVELS
    scale = np.where(scale > 0, scale, 1).astype(np.float32)
    return np.rint(values / scale).astype(np.int8), scale


def dequantize(values: NDArray[np.int8], scale: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 of the same shape; `scale` has the same number of dimensions."""
    return values.astype(np.float32) * scale


def _channel_axis(shape: Sequence[int]) -> int:
    return len(shape) - 2 if shape[-1] == 1 else len(shape) - 1
