"""A pretrained Vision Transformer: KerasHub's ViTBackbone, weights from a Hugging Face checkpoint.

Dosovitskiy et al., 2021. The patch tokens become the feature map, averaged before the head, so that
the closed-form Grad-CAM applies. Without a checkpoint it is a small network of the options' size, trained
from scratch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from pipelines.architectures._hf_vit import load_checkpoint, read_configuration
from pipelines.architectures._registry import Options, Pretrained, architecture


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
    return VitPretrainedOptions.model_validate({**options.model_dump(), **read_configuration(folder)})


def _load(backbone: Any, folder: Path) -> None:
    by_name = {layer.name: layer for layer in backbone.layers}
    blocks = [layer for name, layer in by_name.items() if name.startswith("transformer_block_")]
    load_checkpoint(by_name["vit_patching_and_embedding"], blocks, by_name["ln"], folder=folder)


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
    tensor = encoder.dropout(embedding(tensor))
    for block in encoder.encoder_layers:
        tensor = block(tensor)
    tokens = encoder.layer_norm(tensor)
    return keras.layers.Reshape((grid, grid, options.width), name="patch_map")(tokens[:, 1:])
