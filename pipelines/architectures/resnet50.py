"""ResNet-50 of keras.applications: residual bottleneck blocks.

He et al., 2016, "Deep residual learning for image recognition".
"""

from __future__ import annotations

from typing import Any

from pipelines.architectures._registry import SHORT_TRAINING, NoOptions, Pretrained, architecture

# The published weights come from Caffe: blue first, ImageNet's channel means taken away, no division
# (keras.applications.resnet.preprocess_input).
_MEAN_RGB = (123.68, 116.779, 103.939)


def _pretrained(options: NoOptions) -> Pretrained:
    return Pretrained(
        origin="imagenet",
        file="resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        md5="4d473c1dd8becc155b73f8504c6f6626",
        keras_module="resnet",
    )


@architecture(
    title="ResNet-50",
    reference="He et al., 2016",
    pooling="average",
    pretrained=_pretrained,
    min_px=32,
    batch_norm_momentum=SHORT_TRAINING,
)
def resnet50(image: Any, options: NoOptions) -> Any:
    """float32 [batch, H, W, 3] in 0–255 → feature map [batch, ⌈H/32⌉, ⌈W/32⌉, 2048]."""
    import keras

    centred = keras.layers.Rescaling(1.0, offset=[-mean for mean in _MEAN_RGB])(image)
    scaled = keras.ops.take(centred, [2, 1, 0], axis=-1)
    return keras.applications.ResNet50(input_tensor=scaled, include_top=False, weights=None).output
