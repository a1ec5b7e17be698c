"""`python -m benchmarks.whole_split data/test onnx/vgg/model.onnx …`: accuracy on every file of a split.

`prepare` sets repeated and contradictory pictures aside, so `evaluate` sees fewer test pictures than a set
has; figures in the literature are of all of them. This one reads the folders as they are. About 20 s for
FER2013's 7,178 pictures; LeNet is expected near 0.55, the VGG-like network near 0.66.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from pipelines.metrics import Answers, overall
from pipelines.model.predict import open_model, predict_batches
from serving.cores import usable_cores

SAMPLES, SEED = 1000, 0


def main() -> None:
    """Predict and print."""
    parser = argparse.ArgumentParser(description="Accuracy on every file below SPLIT/CLASS/.")
    parser.add_argument("split", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    options = parser.parse_args()
    files = sorted(path for path in options.split.glob("*/*") if path.is_file())
    for model in options.models:
        print(f"{model}: {describe(model, files)}", flush=True)


def describe(model: Path, files: list[Path]) -> str:
    """Accuracy and macro-F1 with 95 % intervals (bootstrap over pictures)."""
    classifier = open_model(model, threads=usable_cores())
    batches = predict_batches(classifier, [str(path) for path in files], Path())
    probabilities = np.concatenate([batch.probabilities for batch in batches])
    answers = Answers.of([path.parent.name for path in files], probabilities, classifier.contract.classes)
    found = overall(answers, np.arange(len(files)), samples=SAMPLES, seed=SEED)
    parts = (
        f"{name} {score.value:.4f} ({score.low:.4f}–{score.high:.4f})"
        for name, score in ((name, found.score(name)) for name in ("accuracy", "macro_f1"))
    )
    return f"{', '.join(parts)} on {found.images} pictures"


if __name__ == "__main__":
    main()
