"""Seeds, precision and devices, set once before a network is built."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipelines.params import TrainingParams


def set_up(training: TrainingParams, *, seed: int) -> Any:
    """Seed everything, choose the precision, and return the `tf.distribute` strategy.

    All GPUs there are share each batch (`MirroredStrategy`); with one or none it is the default strategy.
    """
    with _without_chatter():
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
    import keras

    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(training.precision)
    return tf.distribute.MirroredStrategy() if len(gpus) > 1 else tf.distribute.get_strategy()


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Drop what TensorFlow writes to file descriptor 2 while it loads.

    Its log level does not reach the messages before its logger starts, a screen full of them on a
    machine without a GPU. TF_CPP_MIN_LOG_LEVEL=0 or 1 shows them.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "0") in ("0", "1"):
        yield
        return
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
