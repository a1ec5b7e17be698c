"""Loading TensorFlow: once, quickly, without a screen full of its start-up lines."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipelines.core.cli import use_onednn

_NEVER_ASKED_OF_KERAS = ("IPython", "matplotlib", "pandas", "scipy", "sklearn")
"""Keras imports them if they are there, to draw networks, take tables, be an estimator: 0.4 of its start."""


# Parameters of mallopt(3) in glibc's malloc.h; values are C ints.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_LARGEST = 2**31 - 1
_TOP_PAD_BYTES = 64 * 2**20


def load_tensorflow(*, gpu: bool = True) -> Any:
    """Import TensorFlow and look for its devices.

    Args:
        gpu: False hides the GPUs: their shortened float32 (TF32) differs from ONNX Runtime by more than
            export and explanation may.

    Returns:
        The module.
    """
    use_onednn()
    keep_freed_memory()
    with _without_chatter(), _as_if_absent(_NEVER_ASKED_OF_KERAS), _without_collector():
        import tensorflow as tf

        tf.config.list_physical_devices()
    if not gpu:
        tf.config.set_visible_devices([], "GPU")
    return tf


def keep_freed_memory() -> bool:
    """Let the C library keep freed memory for the next tensors; return whether it does.

    glibc returns large blocks to the kernel when they are freed, so that every step of a training would get
    the same pages again, zeroed. ResNet-50 at 64 px trained at 42 instead of 32 images/s without that. The
    process stays as large as its largest step. Users who set a variable MALLOC_… keep what they set.
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    # Other C libraries have none.
    if mallopt is None:
        return False
    values = {_MMAP_THRESHOLD: _LARGEST, _TRIM_THRESHOLD: _LARGEST, _TOP_PAD: _TOP_PAD_BYTES}
    return all(mallopt(parameter, value) == 1 for parameter, value in values.items())


@contextmanager
def _without_collector() -> Iterator[None]:
    """Keep the garbage collector from what is loaded, meanwhile and later.

    Nearly everything that is loaded stays. The collector would walk it again and again, a tenth to a seventh
    of TensorFlow's start, and later while networks are built.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()


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
