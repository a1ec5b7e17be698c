"""A small VGG: stacked 3×3 convolutions with batch norm, four blocks, each halving the side.

Simonyan & Zisserman, 2015, "Very deep convolutional networks for large-scale image recognition";
batch norm after Ioffe & Szegedy, 2015.
"""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from pipelines.architectures._registry import Options, architecture
from pipelines.core.errors import ParamsError


class VggOptions(Options):
    """Width and depth of the blocks."""

    filters: list[int] = Field(default=[32, 64, 128, 256], min_length=1)
    """Channels of each block."""
    convolutions: list[int] = Field(default=[2, 2, 3, 3], min_length=1)
    """Convolutions in each block."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """After each block's pooling."""
    batch_norm_momentum: float = Field(default=0.9, ge=0, lt=1)
    """Of the running statistics; 0.9 follows a training of some hundred steps, 0.99 suits ten thousand."""

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        if len(self.filters) != len(self.convolutions):
            raise ValueError("filters and convolutions must name the same number of blocks")
        if min(*self.filters, *self.convolutions) < 1:
            raise ValueError("filters and convolutions must be at least 1")
        return self


@architecture(title="VGG-like", reference="Simonyan & Zisserman, 2015", pooling="average", options=VggOptions)
def vgg(image: Any, options: VggOptions) -> Any:
    """float32 [batch, H, W, 3] in 0–255 → feature map [batch, H/16, W/16, 256] with defaults.

    Raises:
        ParamsError: the picture is too small for this number of blocks.
    """
    import keras

    blocks = len(options.filters)
    if min(image.shape[1:3]) < 2**blocks:
        expected = f"at most {min(image.shape[1:3]).bit_length() - 1} blocks for this prepare.image_size_px"
        raise ParamsError(key="models.vgg.options.filters", got=options.filters, expected=expected)

    tensor = keras.layers.Rescaling(1 / 127.5, offset=-1)(image)
    for filters, convolutions in zip(options.filters, options.convolutions, strict=True):
        for _ in range(convolutions):
            tensor = keras.layers.Conv2D(
                filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal"
            )(tensor)
            tensor = keras.layers.BatchNormalization(momentum=options.batch_norm_momentum)(tensor)
            tensor = keras.layers.ReLU()(tensor)
        tensor = keras.layers.MaxPooling2D()(tensor)
        tensor = keras.layers.Dropout(options.dropout)(tensor)
    return tensor
