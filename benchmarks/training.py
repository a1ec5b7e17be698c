"""`python -m benchmarks.training`: cost of the input pipeline, as ratios within one run; about 4 minutes.

Each network trains at 64 px on random pictures from three feeds in turn, round after round: a NumPy
array in memory handed to `fit`, the pipeline without augmentation, and the pipeline with it. It prints
medians over the rounds of images/s and of each round's ratios. Expected: pipeline ÷ NumPy
≥ 0.95; augmentation on ÷ off ≥ 0.85 for LeNet and about 1 for VGG.

Then memory that stays in the process (`keep_freed_memory`) against the C library's own way. Expected: 1 for
small networks, 1.2 and more for large ones.

Then oneDNN's kernels, which `load_tensorflow` switches on, against TensorFlow's own, each in a process of its
own. Expected: about 1 where TensorFlow has them on by itself (processors with AVX-512 VNNI), elsewhere 3 for
LeNet and 1.5 for a ViT.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pipelines.core.cli import quiet_libraries
from pipelines.core.params import AugmentationParams, HeadParams, ModelParams
from pipelines.model.keras_classifier import build_classifier
from pipelines.model.tensorflow_runtime import load_tensorflow
from pipelines.train.input import Batches, Split

_SIDE_PX, _CLASSES, _BATCH = 64, 7, 32
_OFF = AugmentationParams(flip=False, rotation=0, zoom=0, shift=0)
_ON = AugmentationParams(flip=True, rotation=0.03, zoom=0.1, shift=0.06)
# Enough for one to two seconds a round: entering `fit` must not count.
_IMAGES = {"lenet": 1920, "vgg": 160}
_STEPS = {"lenet": 60, "vgg": 5, "mobilenet_v2": 10, "resnet50": 4, "vit": 30}
_KERNELS = "TF_ENABLE_ONEDNN_OPTS"
# Any variable MALLOC_… leaves the C library as it is; this one has its default.
_OWN_MEMORY = {"MALLOC_PERTURB_": "0"}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Input pipeline against a NumPy array in memory.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps-of", choices=_STEPS, help="images/s of one network alone, then end")
    arguments = parser.parse_args()
    rounds = arguments.rounds
    quiet_libraries()
    if arguments.steps_of:
        load_tensorflow()
        print(_steps_per_second(arguments.steps_of) * _BATCH)
        return
    load_tensorflow()
    print(f"{'':8}{'NumPy':>10}{'pipeline':>10}{'augmented':>10}   pipeline ÷ NumPy   augmented ÷ pipeline")
    for name, count in _IMAGES.items():
        speeds = measure(name, count=count, rounds=rounds)
        pipeline = _ratio(speeds["pipeline"], speeds["numpy"])
        augmented = _ratio(speeds["augmented"], speeds["pipeline"])
        medians = "".join(f"{statistics.median(values):10.0f}" for values in speeds.values())
        print(f"{name:8}{medians}   {pipeline:16.3f}   {augmented:20.3f}", flush=True)
    _compare("returned", _OWN_MEMORY, "kept", {}, rounds=rounds)
    _compare("own kernels", {_KERNELS: "0"}, "oneDNN", {_KERNELS: "1"}, rounds=rounds)


def _compare(
    before: str, first: Mapping[str, str], after: str, second: Mapping[str, str], *, rounds: int
) -> None:
    """Print the speed of every network under two sets of environment variables, in turns, and their ratio."""
    print(f"\n{'':14}{before:>12}{after:>10}   {after} ÷ {before}")
    for name in _STEPS:
        pairs = [
            (_images_per_second(name, first), _images_per_second(name, second))
            for _ in range(max(1, rounds // 3))
        ]
        slow, fast = ([pair[side] for pair in pairs] for side in (0, 1))
        medians = f"{statistics.median(slow):12.0f}{statistics.median(fast):10.0f}"
        print(f"{name:14}{medians}   {_ratio(fast, slow):12.2f}", flush=True)


def _images_per_second(name: str, variables: Mapping[str, str]) -> float:
    """Images per second of one network's training steps, in a process of its own."""
    command = (sys.executable, "-m", "benchmarks.training", "--steps-of", name)
    environment = {**os.environ, **variables}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return float(done.stdout)


def _steps_per_second(name: str) -> float:
    model, split = _model(name), _pictures(_BATCH)
    targets = np.eye(_CLASSES, dtype=np.float32)[split.labels]
    for _ in range(3):
        model.train_on_batch(split.images, targets)
    start = time.perf_counter()
    for _ in range(_STEPS[name]):
        model.train_on_batch(split.images, targets)
    return _STEPS[name] / (time.perf_counter() - start)


def measure(name: str, *, count: int, rounds: int) -> Mapping[str, list[float]]:
    """Images per second of every round, by feed; the first round only warms up."""
    model = _model(name)
    feeds = _feeds(_pictures(count))
    speeds: dict[str, list[float]] = {feed: [] for feed in feeds}
    for number in range(rounds + 1):
        # Turned every round, so that no feed always runs first.
        names = list(feeds)
        turned = names[number % 3 :] + names[: number % 3]
        for feed in turned:
            speed = count / _seconds(model, feeds[feed], epoch=number)
            if number:
                speeds[feed].append(speed)
    return speeds


def _feeds(split: Split) -> dict[str, Callable[[int], dict[str, Any]]]:
    targets = np.eye(_CLASSES, dtype=np.float32)[split.labels]
    weights = np.ones(len(split), np.float32)
    array = {"x": split.images, "y": targets, "sample_weight": weights, "batch_size": _BATCH, "shuffle": True}
    feeds: dict[str, Callable[[int], dict[str, Any]]] = {"numpy": lambda epoch: array}
    for feed, augmentation in (("pipeline", _OFF), ("augmented", _ON)):
        batches = Batches(
            split, classes=_CLASSES, batch_size=_BATCH, seed=0, augmentation=augmentation, weights=None
        )
        feeds[feed] = lambda epoch, batches=batches: {"x": batches.epoch(epoch), "shuffle": False}
    return feeds


def _seconds(model: Any, feed: Callable[[int], dict[str, Any]], *, epoch: int) -> float:
    start = time.perf_counter()
    model.fit(**feed(epoch), epochs=1, verbose=0)
    return time.perf_counter() - start


def _pictures(count: int) -> Split:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, _SIDE_PX, _SIDE_PX, 3), np.uint8)
    return Split(images=images, labels=rng.integers(0, _CLASSES, count))


def _model(name: str) -> Any:
    import keras

    classifier = build_classifier(
        name,
        ModelParams(epochs=1, learning_rate=1e-3),
        head=HeadParams(hidden=[128], dropout=0.3),
        height=_SIDE_PX,
        width=_SIDE_PX,
        classes=_CLASSES,
    )
    classifier.model.compile(
        optimizer=keras.optimizers.AdamW(1e-3),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )
    return classifier.model


def _ratio(some: list[float], others: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(some, others, strict=True))


if __name__ == "__main__":
    main()
