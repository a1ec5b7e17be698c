"""MobileNetV2 of keras.applications: inverted residuals with linear bottlenecks.

Sandler et al., 2018, "MobileNetV2: Inverted residuals and linear bottlenecks".
"""

from __future__ import annotations

from typing import Any

from pydantic import field_validator

from pipelines.architectures._registry import SHORT_TRAINING, Options, Pretrained, architecture

# keras.applications.MobileNetV2 has ImageNet weights for these widths.
_ALPHAS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)


class MobileNetV2Options(Options):
    """Width of the network."""

    alpha: float = 1.0
    """Multiplies every layer's channels; one of the values Keras publishes weights for."""

    @field_validator("alpha")
    @classmethod
    def _published(cls, alpha: float) -> float:
        if alpha not in _ALPHAS:
            raise ValueError(f"one of {', '.join(map(str, _ALPHAS))}")
        return alpha


def _pretrained(options: MobileNetV2Options) -> Pretrained:
    # Keras publishes a file per training resolution too; 224 px is the one it takes for any other size.
    return Pretrained(
        origin="imagenet",
        file=f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{options.alpha}_224_no_top.h5",
        keras_module="mobilenet_v2",
    )


@architecture(
    title="MobileNetV2",
    reference="Sandler et al., 2018",
    pooling="average",
    options=MobileNetV2Options,
    pretrained=_pretrained,
    min_px=32,
    batch_norm_momentum=SHORT_TRAINING,
)
def mobilenet_v2(image: Any, options: MobileNetV2Options) -> Any:
    """float32 [batch, H, W, 3] in 0–255 → feature map [batch, ⌈H/32⌉, ⌈W/32⌉, 1280] for alpha ≤ 1."""
    import keras

    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1)(image)
    return keras.applications.MobileNetV2(
        input_tensor=scaled, alpha=options.alpha, include_top=False, weights=None
    ).output
