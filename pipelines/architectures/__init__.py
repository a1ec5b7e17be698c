"""One file per network; a new one is one new file with the `architecture` decorator.

    @architecture(title="LeNet-5", reference="LeCun et al., 1998", pooling="flatten")
    def lenet(image: Any, options: NoOptions) -> Any: ...

A builder takes the picture as a float32 Keras tensor [batch, H, W, 3], RGB, 0–255, does its own scaling,
and returns the network's last feature map (or, for `pooling="token"`, a `Tokens`). The module
`pipelines/model/keras_classifier.py` puts the pooling and the shared head on top. Files import Keras inside
the builder, so that reading their options is quick. A file stands alone, importing no other architecture,
so that DVC retrains only its network when it changes.
"""

from pipelines.architectures._registry import (
    Architecture,
    NoOptions,
    Options,
    Pooling,
    Pretrained,
    Tokens,
    architecture,
    load_architecture,
)

__all__ = [
    "Architecture",
    "NoOptions",
    "Options",
    "Pooling",
    "Pretrained",
    "Tokens",
    "architecture",
    "load_architecture",
]
