"""Loading TensorFlow: once, quickly, without a screen full of its start-up lines."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipelines.core.cli import use_onednn

_NEVER_ASKED_OF_KERAS = ("IPython", "matplotlib", "pandas", "scipy", "sklearn")
"""Keras imports them if they are there, to draw networks, take tables, be an estimator: 0.4 of its start."""


def load_tensorflow(*, gpu: bool = True) -> Any:
    """Import TensorFlow and look for its devices.

    Args:
        gpu: False hides the GPUs: their shortened float32 (TF32) differs from ONNX Runtime by more than
            export and explanation may.

    Returns:
        The module.
    """
    use_onednn()
    with _without_chatter(), _as_if_absent(_NEVER_ASKED_OF_KERAS):
        import tensorflow as tf

        tf.config.list_physical_devices()
    # What was loaded stays: else the collector walks it again and again while networks are built.
    gc.freeze()
    if not gpu:
        tf.config.set_visible_devices([], "GPU")
    return tf


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


@contextmanager
def _as_if_absent(packages: tuple[str, ...]) -> Iterator[None]:
    """Let imports of packages that are not loaded yet fail meanwhile, as if they were not installed."""
    hidden = [package for package in packages if package not in sys.modules]
    # None in the place of a module makes its import fail (Python Language Reference, 5.3.1).
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for package in hidden:
            del sys.modules[package]
