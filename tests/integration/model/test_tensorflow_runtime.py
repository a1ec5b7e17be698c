"""How TensorFlow is loaded, in a process of its own: what comes with it, what stays possible afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys

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
