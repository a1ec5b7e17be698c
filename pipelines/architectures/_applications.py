"""What the networks of keras.applications share."""

from __future__ import annotations

from typing import Any

# Keras' 0.99 and 0.999 suit ImageNet's hundred thousands of steps: after a few hundred, most of the running
# statistics would still be the initial 0 and 1, and a network trained from scratch would answer every picture
# alike. 0.9 is PyTorch's default. With pretrained weights the statistics are frozen and this has no effect.
_MOMENTUM = 0.9


def feature_map(network: Any) -> Any:
    """Last feature map of a network without top, its batch norms fit for short training."""
    for layer in network.layers:
        if type(layer).__name__ == "BatchNormalization":
            layer.momentum = _MOMENTUM
    return network.output
