"""EfficientNet-B4 of keras.applications: depth, width and resolution scaled together.

Tan & Le, 2019, "EfficientNet: Rethinking model scaling for convolutional neural networks".
"""

from __future__ import annotations

from typing import Any

from pipelines.architectures._registry import NoOptions, Pretrained, architecture


def _pretrained(options: NoOptions) -> Pretrained:
    return Pretrained(
        origin="imagenet",
        file="efficientnetb4_notop.h5",
        md5="ebc24e6d6c33eaebbd558eafbeedf1ba",
        keras_module="efficientnet",
    )


@architecture(
    title="EfficientNet-B4",
    reference="Tan & Le, 2019",
    pooling="average",
    pretrained=_pretrained,
    min_px=32,
)
def efficientnet_b4(image: Any, options: NoOptions) -> Any:
    """float32 [batch, H, W, 3] in 0–255 → feature map [batch, ⌈H/32⌉, ⌈W/32⌉, 1792]."""
    import keras

    return keras.applications.EfficientNetB4(input_tensor=image, include_top=False, weights=None).output
