"""`python -m benchmarks.tensorflow_start`: how long TensorFlow takes to load; about 2 minutes.

Processes of their own, in turn: `import tensorflow` as anybody would, then `load_tensorflow`, which leaves
out what Keras only offers to use. The first round only warms the disk's cache. Printed are the medians of
processor time and of each round's own ratio. Expected: 0.6 to 0.8.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

_WAYS = {
    "import tensorflow": "import tensorflow, keras",
    "load_tensorflow": "from pipelines.model.tensorflow_runtime import load_tensorflow; load_tensorflow()",
}
_TIMED = (
    "import sys, time; begun = time.process_time(); {}; print(time.process_time() - begun, len(sys.modules))"
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="How long TensorFlow takes to load.")
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    taken = [{way: _run(code) for way, code in _WAYS.items()} for _ in range(rounds + 1)][1:]
    for way in _WAYS:
        seconds = statistics.median(took[way][0] for took in taken)
        print(f"{way:18} {seconds:6.2f} s of processor time, {taken[0][way][1]:.0f} modules")
    plain, lean = _WAYS
    ratio = statistics.median(took[lean][0] / took[plain][0] for took in taken)
    print(f"{lean} ÷ {plain}: {ratio:.2f}")


def _run(code: str) -> tuple[float, float]:
    """Processor time in seconds, modules loaded."""
    done = subprocess.run(
        [sys.executable, "-c", _TIMED.format(code)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        stderr=subprocess.DEVNULL,
    )
    seconds, modules = done.stdout.split()
    return float(seconds), float(modules)


if __name__ == "__main__":
    main()
