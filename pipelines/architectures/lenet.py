"""LeNet-5 for colour pictures: three convolutions with pooling, then the head.

LeCun et al., 1998, "Gradient-based learning applied to document recognition"; ReLU and max pooling instead of
the paper's tanh and averages, as is usual since Krizhevsky et al., 2012.
"""

from __future__ import annotations

from typing import Any

from pipelines.architectures._registry import NoOptions, architecture


@architecture(title="LeNet-5", reference="LeCun et al., 1998", pooling="flatten")
def lenet(image: Any, options: NoOptions) -> Any:
    """float32 [batch, H, W, 3] in 0–255 → feature map [batch, ~H/8, ~W/8, 32]."""
    import keras

    tensor = keras.layers.Rescaling(1 / 127.5, offset=-1)(image)
    for filters in (8, 16, 32):
        tensor = keras.layers.Conv2D(filters, 5, padding="same", activation="relu")(tensor)
        tensor = keras.layers.MaxPooling2D()(tensor)
    return tensor
