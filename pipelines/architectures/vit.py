"""A Vision Transformer from scratch: patches, class token, learned positions, pre-norm encoder.

Dosovitskiy et al., 2021, "An image is worth 16x16 words: Transformers for image recognition at scale"; its
section 3.1 also takes the tokens from the feature map of a convolutional network, here from that of Xiao et
al., 2021, "Early convolutions help transformers see better".
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from pipelines.architectures._registry import SHORT_TRAINING, Options, Tokens, architecture
from pipelines.core.errors import ParamsError

# The paper's code. Keras' default counts the area of a patch among the outputs, which makes tokens four times
# too small beside what the blocks add to them.
_PATCH_INITIALIZER = "lecun_normal"
# As large as the patches' own tokens. The paper's 0.02 is for hundreds of thousands of steps: after a
# thousand, a network hardly knows where a patch was. On the sample (width 48, depth 3, 30 epochs, one seed,
# no augmentation) 32 % of the validation pictures are right; with 0.02 18 %, with Keras' default for the
# patches 21 %; chance is 14 %.
_POSITION_DEVIATION = 0.5


class VitOptions(Options):
    """Size of the encoder."""

    patch_px: int = Field(default=8, ge=1, le=64)
    """Side of a patch; must divide the image's sides."""
    stem: Literal["patches", "convolutions"] = "patches"
    """How a patch becomes a token: one linear map, or 3×3 convolutions, each halving the side.

    From some thousand pictures the linear map learns nothing; see docs/benchmarks.md.
    """
    width: int = Field(default=96, ge=4, le=2048)
    """Length of a token."""
    depth: int = Field(default=4, ge=1, le=48)
    """Encoder blocks."""
    heads: int = Field(default=4, ge=1, le=32)
    """Attention heads; must divide `width`."""
    mlp_ratio: float = Field(default=4.0, ge=0.5, le=8)
    """Hidden units of a block's MLP per token value; 4 in the paper."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """After embedding, attention and each MLP layer; 0.1 in the paper's long ImageNet-1k runs."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads})")
        if self.stem == "convolutions" and self.patch_px.bit_count() != 1:
            raise ValueError(f"patch_px ({self.patch_px}) must be a power of two for stem: convolutions")
        return self


@architecture(
    title="ViT",
    reference="Dosovitskiy et al., 2021",
    pooling="token",
    options=VitOptions,
)
def vit(image: Any, options: VitOptions) -> Tokens:
    """float32 [batch, H, W, 3] in 0–255 → tokens [batch, 1 + H·W/patch², width] and their attention.

    Raises:
        ParamsError: the patch does not divide the picture.
    """
    import keras

    height, width = image.shape[1:3]
    if height % options.patch_px or width % options.patch_px:
        expected = f"a divisor of the picture's sides, {height}×{width} px (prepare.image_size_px)"
        raise ParamsError(key="models.vit.options.patch_px", got=options.patch_px, expected=expected)

    tensor = keras.layers.Rescaling(1 / 127.5, offset=-1)(image)
    tensor = _stem(tensor, options)
    grid = (int(tensor.shape[1]), int(tensor.shape[2]))
    tensor = keras.layers.Reshape((grid[0] * grid[1], options.width))(tensor)
    tensor = _embedding(name="embedding")(tensor)
    tensor = keras.layers.Dropout(options.dropout)(tensor)
    attentions = []
    for _ in range(options.depth):
        tensor, attention = _block(tensor, options)
        attentions.append(attention)
    tensor = keras.layers.LayerNormalization(epsilon=1e-6, name="encoder_norm")(tensor)
    return Tokens(tokens=tensor, attentions=tuple(attentions), grid=grid)


def _stem(tensor: Any, options: VitOptions) -> Any:
    """float32 [batch, H, W, 3] → tokens [batch, H/patch, W/patch, width]."""
    import keras

    side = options.patch_px
    if options.stem == "convolutions":
        halvings = side.bit_length() - 1
        for step in range(halvings):
            # Doubled with each halving of the side, the last one half as wide as a token (Xiao et al., 2021).
            filters = max(8, options.width >> (halvings - step))
            tensor = keras.layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(tensor)
            tensor = keras.layers.BatchNormalization(momentum=SHORT_TRAINING)(tensor)
            tensor = keras.layers.ReLU()(tensor)
        side = 1
    return keras.layers.Conv2D(
        options.width, side, strides=side, kernel_initializer=_PATCH_INITIALIZER, name="patches"
    )(tensor)


def _block(tensor: Any, options: VitOptions) -> tuple[Any, Any]:
    """One pre-norm encoder block → (tokens, attention [batch, heads, tokens, tokens])."""
    import keras

    normed = keras.layers.LayerNormalization(epsilon=1e-6)(tensor)
    mixed, attention = keras.layers.MultiHeadAttention(
        options.heads, options.width // options.heads, dropout=options.dropout
    )(normed, normed, return_attention_scores=True)
    tensor = keras.layers.Add()([tensor, keras.layers.Dropout(options.dropout)(mixed)])
    hidden = keras.layers.LayerNormalization(epsilon=1e-6)(tensor)
    hidden = keras.layers.Dense(round(options.width * options.mlp_ratio), activation="gelu")(hidden)
    hidden = keras.layers.Dropout(options.dropout)(hidden)
    hidden = keras.layers.Dense(options.width)(hidden)
    hidden = keras.layers.Dropout(options.dropout)(hidden)
    return keras.layers.Add()([tensor, hidden]), attention


def _embedding(name: str) -> Any:
    """The layer that puts a class token in front and adds learned positions."""
    import keras

    class Embedding(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
        def build(self, shape: Any) -> None:
            count, width = shape[1] + 1, shape[2]
            self.token = self.add_weight(shape=(1, 1, width), initializer="zeros", name="token")
            normal = keras.initializers.RandomNormal(stddev=_POSITION_DEVIATION)
            self.positions = self.add_weight(shape=(1, count, width), initializer=normal, name="positions")

        def call(self, patches: Any) -> Any:
            ops = keras.ops
            token = ops.tile(self.token, (ops.shape(patches)[0], 1, 1))
            return ops.concatenate([token, patches], axis=1) + self.positions

    return Embedding(name=name)
