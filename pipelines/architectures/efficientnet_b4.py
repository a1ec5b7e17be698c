"""EfficientNet-B4 of keras.applications: depth, width and resolution scaled together.

Tan & Le, 2019, "EfficientNet: Rethinking model scaling for convolutional neural networks".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.architectures._registry import SHORT_TRAINING, NoOptions, Pretrained, architecture

# Standard deviation of ImageNet's red, green and blue in [0, 1].
_STD_RGB = (0.229, 0.224, 0.225)


def _pretrained(options: NoOptions) -> Pretrained:
    return Pretrained(
        origin="imagenet",
        file="efficientnetb4_notop.h5",
        md5="ebc24e6d6c33eaebbd558eafbeedf1ba",
        keras_module="efficientnet",
    )


def _load(backbone: Any, path: Path) -> None:
    backbone.load_weights(path)
    # The published Normalization holds σ where the layer expects σ², so Keras divides once more by √σ, but
    # only when it loads the file itself (tensorflow/tensorflow#49930). Here σ² is put right instead.
    layer = next(layer for layer in backbone.layers if type(layer).__name__ == "Normalization")
    layer.adapt_variance.assign(layer.adapt_variance * list(_STD_RGB))
    layer.finalize_state()


@architecture(
    title="EfficientNet-B4",
    reference="Tan & Le, 2019",
    pooling="average",
    pretrained=_pretrained,
    min_px=32,
    batch_norm_momentum=SHORT_TRAINING,
    load=_load,
)
def efficientnet_b4(image: Any, options: NoOptions) -> Any:
    """float32 [batch, H, W, 3] in 0–255 → feature map [batch, ⌈H/32⌉, ⌈W/32⌉, 1792]."""
    import keras

    return keras.applications.EfficientNetB4(input_tensor=image, include_top=False, weights=None).output
