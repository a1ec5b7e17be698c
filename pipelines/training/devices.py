"""Seeds, precision and devices, set once before a network is built."""

from __future__ import annotations

from typing import Any

from pipelines.core.params import TrainingParams
from pipelines.model.tensorflow_runtime import load_tensorflow


def set_up(training: TrainingParams, *, seed: int) -> Any:
    """Seed everything, choose the precision, and return the `tf.distribute` strategy.

    All GPUs there are share each batch (`MirroredStrategy`); with one or none it is the default strategy.
    """
    tf = load_tensorflow()
    import keras

    gpus = tf.config.list_physical_devices("GPU")
    # Layers are named by counters that end up in the weights file; they start anew.
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(training.precision)
    return tf.distribute.MirroredStrategy() if len(gpus) > 1 else tf.distribute.get_strategy()
