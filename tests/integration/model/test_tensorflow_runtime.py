"""How TensorFlow is loaded, in a process of its own: what comes with it, what stays possible afterwards."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys

import pytest

LOADED = """
import json, sys
import pandas
from pipelines.model.tensorflow_runtime import load_tensorflow
tf = load_tensorflow()
came = [name for name in ("IPython", "matplotlib", "pandas", "sklearn") if name in sys.modules]
import keras, matplotlib.figure, scipy.stats, sklearn.base
frame = pandas.DataFrame({"x": [1.0, 2.0]})
print(json.dumps([came, float(keras.ops.sum(tf.constant(frame.to_numpy())))]))
"""


def test_what_keras_may_do_without_stays_out_and_can_be_imported_afterwards() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [["pandas"], 3.0]
    assert done.stderr == ""


_STEPS = """
import resource
from pipelines.model.tensorflow_runtime import keep_freed_memory
import numpy as np

kept = keep_freed_memory()

def step():
    # What a training does: blocks of megabytes, made and freed.
    first = np.ones(3_000_000, np.float32)
    second = first * 2

step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.parametrize(("given", "kept"), [({}, True), ({"MALLOC_ARENA_MAX": "2"}, False)])
def test_freed_memory_is_used_again_unless_the_user_tunes_malloc(given: dict[str, str], kept: bool) -> None:
    kept = kept and hasattr(ctypes.CDLL(None), "mallopt")  # glibc's
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", _STEPS], env=environment | given, capture_output=True, text=True, check=True
    )
    said, faults = done.stdout.split()
    assert said == str(kept)
    # 20 steps of 24 MB: 117,000 pages of 4 KiB if the kernel gives each of them again.
    assert (int(faults) < 1000) == kept
