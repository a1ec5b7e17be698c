"""A pretrained Vision Transformer: KerasHub's ViTBackbone, weights from a Hugging Face checkpoint.

Dosovitskiy et al., 2021. The patch tokens become the feature map, averaged before the head, so that
the closed-form Grad-CAM applies. Without a checkpoint it is a small network of the options' size, trained
from scratch.

A checkpoint is a folder of `config.json`, `model.safetensors` and perhaps `preprocessor_config.json`. It is
mapped here, name by name, because KerasHub's own converter ignores `layer_norm_eps` and the preprocessor, and
knows only names that begin with `vit.`, which a bare `ViTModel` (google/vit-base-patch16-224-in21k) lacks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from pipelines.architectures._registry import Options, Pretrained, architecture

Tensor = NDArray[np.float32]
Target = tuple[str, Any, Callable[[Tensor], Tensor]]
"""Name in the checkpoint, Keras variable, change of layout."""

# What a checkpoint holds besides the backbone: the head it was trained with, which ours replaces.
_UNUSED = ("pooler.", "classifier.")
# As in `vit`, whose file says why; a checkpoint replaces what they make.
_PATCH_INITIALIZER, _POSITION_DEVIATION = "lecun_normal", 0.5


class VitPretrainedOptions(Options):
    """The checkpoint, and the size of the network; a loaded checkpoint's own numbers replace the latter."""

    checkpoint: str | None = Field(default=None, pattern=r"^hf://[\w.-]+/[\w.-]+$")
    """Such as `hf://google/vit-base-patch16-224-in21k`; null trains a network of this size from scratch."""
    image_size_px: int = Field(default=64, ge=8, le=1024)
    """Side the network wants; the picture is resized to it inside the graph."""
    patch_px: int = Field(default=8, ge=1, le=64)
    """Side of a patch."""
    width: int = Field(default=64, ge=4, le=4096)
    """Length of a token."""
    depth: int = Field(default=4, ge=1, le=64)
    """Encoder blocks."""
    heads: int = Field(default=4, ge=1, le=64)
    """Attention heads; must divide `width`."""
    mlp_width: int | None = Field(default=None, ge=1, le=16384)
    """Hidden units of a block's MLP; null is 4 · width."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """After embedding, attention and each MLP layer."""
    layer_norm_eps: float = Field(default=1e-6, gt=0, le=1e-3)
    """Keeps the normalisation finite."""
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    """Taken from a picture in [0, 1]; 0.5 for Google's checkpoints."""
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    """Then divided by; 0.5 for Google's checkpoints."""

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads})")
        if self.image_size_px % self.patch_px:
            raise ValueError(
                f"image_size_px ({self.image_size_px}) must be a multiple of patch_px ({self.patch_px})"
            )
        return self


def _pretrained(options: VitPretrainedOptions) -> Pretrained | None:
    if options.checkpoint is None:
        return None
    return Pretrained(origin=options.checkpoint.replace("hf://", "hf:"), checkpoint=options.checkpoint)


def _complete(options: VitPretrainedOptions, folder: Path) -> VitPretrainedOptions:
    return VitPretrainedOptions.model_validate({**options.model_dump(), **_read_configuration(folder)})


def _load(backbone: Any, folder: Path) -> None:
    by_name = {layer.name: layer for layer in backbone.layers}
    blocks = [layer for name, layer in by_name.items() if name.startswith("transformer_block_")]
    _load_checkpoint(by_name["vit_patching_and_embedding"], blocks, by_name["ln"], folder=folder)


@architecture(
    title="ViT (pretrained)",
    reference="Dosovitskiy et al., 2021",
    pooling="average",
    options=VitPretrainedOptions,
    pretrained=_pretrained,
    complete=_complete,
    load=_load,
)
def vit_pretrained(image: Any, options: VitPretrainedOptions) -> Any:
    """float32 [batch, H, W, 3] in 0–255 → feature map [batch, rows, columns, width] of patch tokens."""
    import keras
    import keras_hub

    size = options.image_size_px
    grid = size // options.patch_px
    network = keras_hub.models.ViTBackbone(
        image_shape=(size, size, 3),
        patch_size=options.patch_px,
        num_layers=options.depth,
        num_heads=options.heads,
        hidden_dim=options.width,
        mlp_dim=options.mlp_width or 4 * options.width,
        dropout_rate=options.dropout,
        attention_dropout=options.dropout,
        layer_norm_epsilon=options.layer_norm_eps,
    )
    tensor = image
    if tuple(image.shape[1:3]) != (size, size):
        tensor = keras.layers.Resizing(size, size, interpolation="bilinear")(tensor)
    scale = [1 / (255 * std) for std in options.std]
    offset = [-mean / std for mean, std in zip(options.mean, options.std, strict=True)]
    tensor = keras.layers.Rescaling(scale, offset=offset)(tensor)
    # The parts are called one by one, so that `unfreeze` counts encoder blocks, not one layer of them all.
    embedding, encoder = network.layers[1:]
    _initialize(embedding)
    tensor = encoder.dropout(embedding(tensor))
    for block in encoder.encoder_layers:
        tensor = block(tensor)
    tokens = encoder.layer_norm(tensor)
    return keras.layers.Reshape((grid, grid, options.width), name="patch_map")(tokens[:, 1:])


def _initialize(embedding: Any) -> None:
    """Give patches and positions the scale at which short trainings learn."""
    import keras

    kernel, positions = embedding.patch_embedding.kernel, embedding.position_embedding.embeddings
    kernel.assign(keras.initializers.get(_PATCH_INITIALIZER)(kernel.shape))
    positions.assign(keras.initializers.RandomNormal(stddev=_POSITION_DEVIATION)(positions.shape))


def _read_configuration(folder: Path) -> dict[str, Any]:
    """Options of `vit_pretrained` that a checkpoint prescribes.

    Raises:
        ValueError: the configuration is not that of a ViT, or one that KerasHub's backbone cannot take.
        OSError: a file is missing.
        KeyError: an entry is missing.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for key, expected in (
        ("model_type", "vit"),
        ("qkv_bias", True),
        ("hidden_act", "gelu"),
        ("num_channels", 3),
    ):
        if config[key] != expected:
            raise ValueError(f"config.json: {key} is {config[key]!r}, expected {expected!r}")
    epsilon = config["layer_norm_eps"]
    # 1e-12 is Hugging Face's default; above 1e-3 it would be no longer a guard but a part of the network.
    if not isinstance(epsilon, float) or not 0 < epsilon <= 1e-3:
        raise ValueError(f"config.json: layer_norm_eps is {epsilon!r}, expected a number in (0, 0.001]")
    return {
        "image_size_px": config["image_size"],
        "patch_px": config["patch_size"],
        "width": config["hidden_size"],
        "depth": config["num_hidden_layers"],
        "heads": config["num_attention_heads"],
        "mlp_width": config["intermediate_size"],
        "layer_norm_eps": epsilon,
        **_preprocessing(folder),
    }


def _preprocessing(folder: Path) -> dict[str, Any]:
    """`mean` and `std` of the checkpoint's preprocessor, where it brings one."""
    path = folder / "preprocessor_config.json"
    if not path.exists():
        return {}
    config = json.loads(path.read_text(encoding="utf-8"))
    return {"mean": tuple(config["image_mean"]), "std": tuple(config["image_std"])}


def _load_checkpoint(embedding: Any, blocks: list[Any], norm: Any, *, folder: Path) -> None:
    """Assign every tensor of a checkpoint to its place.

    Args:
        embedding: KerasHub's patch embedding.
        blocks: its encoder blocks, first one first.
        norm: its final layer normalisation.
        folder: the checkpoint.

    Raises:
        ValueError: a tensor is missing, left over, or of another shape; nothing was assigned then.
        OSError: the file is missing or truncated.
    """
    tensors = _read_tensors(folder / "model.safetensors")
    targets = [*_embedding(embedding, norm)]
    for index, block in enumerate(blocks):
        targets += [(f"encoder.layer.{index}.{name}", *rest) for name, *rest in _block(block)]
    _check_names({name for name, _, _ in targets}, set(tensors))
    values = [(name, variable, layout(tensors[name])) for name, variable, layout in targets]
    for name, variable, value in values:
        if tuple(variable.shape) != value.shape:
            raise ValueError(f"{name} has the shape {value.shape}, expected {tuple(variable.shape)}")
    for _, variable, value in values:
        variable.assign(value)


def _read_tensors(path: Path) -> dict[str, Tensor]:
    """Name without the `vit.` prefix → float32 tensor."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path.name} is not an intact safetensors file ({error})") from error
    return {name.removeprefix("vit."): np.asarray(value, np.float32) for name, value in tensors.items()}


def _check_names(expected: set[str], got: set[str]) -> None:
    got = {name for name in got if not name.startswith(_UNUSED)}
    if missing := sorted(expected - got):
        raise ValueError(f"model.safetensors lacks {missing[0]} and {len(missing) - 1} more tensors")
    if left := sorted(got - expected):
        raise ValueError(f"model.safetensors holds {left[0]} and {len(left) - 1} more unknown tensors")


def _embedding(embedding: Any, norm: Any) -> Iterator[Target]:
    patches = embedding.patch_embedding
    # PyTorch keeps convolutions as [out, in, rows, columns].
    yield "embeddings.patch_embeddings.projection.weight", patches.kernel, lambda x: x.transpose(2, 3, 1, 0)
    yield "embeddings.patch_embeddings.projection.bias", patches.bias, _same
    yield "embeddings.cls_token", embedding.class_token, _same
    yield "embeddings.position_embeddings", embedding.position_embedding.embeddings, lambda x: x[0]
    yield from _norm("layernorm", norm)


def _block(block: Any) -> Iterator[Target]:
    attention = block.mha
    for name in ("query", "key", "value"):
        yield from _dense(f"attention.attention.{name}", getattr(attention, f"{name}_dense"))
    yield from _dense("attention.output.dense", attention.output_dense)
    yield from _norm("layernorm_before", block.layer_norm_1)
    yield from _norm("layernorm_after", block.layer_norm_2)
    yield from _dense("intermediate.dense", block.mlp.dense_1)
    yield from _dense("output.dense", block.mlp.dense_2)


def _dense(name: str, layer: Any) -> Iterator[Target]:
    # Keras' attention keeps heads as an axis of their own; the order of the values is the same.
    kernel, bias = tuple(layer.kernel.shape), tuple(layer.bias.shape)
    yield f"{name}.weight", layer.kernel, lambda x: x.T.reshape(kernel)
    yield f"{name}.bias", layer.bias, lambda x: x.reshape(bias)


def _norm(name: str, layer: Any) -> Iterator[Target]:
    yield f"{name}.weight", layer.gamma, _same
    yield f"{name}.bias", layer.beta, _same


def _same(value: Tensor) -> Tensor:
    return value
