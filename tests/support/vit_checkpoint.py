"""A Hugging Face ViT checkpoint of random numbers, and what such a network computes, in NumPy alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from scipy.special import erf, softmax

Array = NDArray[np.float32]
SIDE, PATCH, WIDTH, DEPTH, HEADS, MLP = 32, 8, 12, 2, 3, 20
CONFIG = {
    "architectures": ["ViTModel"],
    "model_type": "vit",
    "image_size": SIDE,
    "patch_size": PATCH,
    "num_channels": 3,
    "hidden_size": WIDTH,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": HEADS,
    "intermediate_size": MLP,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "layer_norm_eps": 1e-12,
    "qkv_bias": True,
}
MEAN, STD = (0.5, 0.4, 0.6), (0.5, 0.25, 0.3)


def random_tensors(seed: int = 0) -> dict[str, Array]:
    """Every tensor of the backbone by its Hugging Face name, without prefix."""
    rng = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.cls_token": (1, 1, WIDTH),
        "embeddings.position_embeddings": (1, 1 + (SIDE // PATCH) ** 2, WIDTH),
        "embeddings.patch_embeddings.projection.weight": (WIDTH, 3, PATCH, PATCH),
        "embeddings.patch_embeddings.projection.bias": (WIDTH,),
        "layernorm.weight": (WIDTH,),
        "layernorm.bias": (WIDTH,),
    }
    dense = {f"attention.attention.{name}": (WIDTH, WIDTH) for name in ("query", "key", "value")}
    dense |= {
        "attention.output.dense": (WIDTH, WIDTH),
        "intermediate.dense": (MLP, WIDTH),
        "output.dense": (WIDTH, MLP),
    }
    for index in range(DEPTH):
        layer = f"encoder.layer.{index}"
        for name, shape in dense.items():
            shapes[f"{layer}.{name}.weight"], shapes[f"{layer}.{name}.bias"] = shape, shape[:1]
        for norm in ("layernorm_before", "layernorm_after"):
            shapes[f"{layer}.{norm}.weight"] = shapes[f"{layer}.{norm}.bias"] = (WIDTH,)
    return {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}


def write_checkpoint(
    folder: Path, tensors: dict[str, Array], *, prefix: str = "vit.", **changes: Any
) -> Path:
    """Write `config.json` (with `changes`), `preprocessor_config.json` and `model.safetensors`."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | changes))
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": MEAN, "image_std": STD}))
    save_file({f"{prefix}{name}": value for name, value in tensors.items()}, folder / "model.safetensors")
    return folder


def patch_tokens(tensors: dict[str, Array], images: NDArray[np.uint8]) -> Array:
    """Patch tokens after the last norm, [n, patches, WIDTH], as Hugging Face's ViTModel computes them."""
    grid = SIDE // PATCH
    scaled = (images / 255 - np.array(MEAN)) / np.array(STD)
    patches = scaled.reshape(len(images), grid, PATCH, grid, PATCH, 3).transpose(0, 1, 3, 5, 2, 4)
    kernel = tensors["embeddings.patch_embeddings.projection.weight"].reshape(WIDTH, -1)
    x = patches.reshape(len(images), grid * grid, -1) @ kernel.T
    x = x + tensors["embeddings.patch_embeddings.projection.bias"]
    x = np.concatenate([np.repeat(tensors["embeddings.cls_token"], len(images), axis=0), x], axis=1)
    x = x + tensors["embeddings.position_embeddings"]
    for index in range(DEPTH):
        layer = {
            name.removeprefix(f"encoder.layer.{index}."): value
            for name, value in tensors.items()
            if name.startswith(f"encoder.layer.{index}.")
        }
        x = x + _attention(layer, _norm(layer, "layernorm_before", x))
        hidden = _dense(layer, "intermediate.dense", _norm(layer, "layernorm_after", x))
        x = x + _dense(layer, "output.dense", hidden * 0.5 * (1 + erf(hidden / np.sqrt(2))))
    return _norm(tensors, "layernorm", x)[:, 1:]


def _attention(layer: dict[str, Array], x: Array) -> Array:
    query, key, value = (
        _dense(layer, f"attention.attention.{name}", x)
        .reshape(*x.shape[:2], HEADS, WIDTH // HEADS)
        .transpose(0, 2, 1, 3)
        for name in ("query", "key", "value")
    )
    scores = softmax(query @ key.transpose(0, 1, 3, 2) / np.sqrt(WIDTH // HEADS), axis=-1)
    return _dense(layer, "attention.output.dense", (scores @ value).transpose(0, 2, 1, 3).reshape(x.shape))


def _dense(tensors: dict[str, Array], name: str, x: Array) -> Array:
    product: Array = x @ tensors[f"{name}.weight"].T
    return product + tensors[f"{name}.bias"]


def _norm(tensors: dict[str, Array], name: str, x: Array) -> Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + CONFIG["layer_norm_eps"])
    scaled: Array = centred / spread * tensors[f"{name}.weight"]
    return scaled + tensors[f"{name}.bias"]
