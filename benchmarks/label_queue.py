"""`python -m benchmarks.label_queue`: labels that the queue needs beside random choice; about 20 minutes.

In a checkout where `make run` has prepared the sample. LeNet starts with labels of a tenth of the training
pictures, drawn at random. In each round it is trained from random weights on all labelled pictures, and
another tenth gets labels: those that `GET /labels/next` would offer by this network's answers, 20 at a time,
or random ones. Printed, as Markdown: test accuracy by share of labels, means over the seeds, and how many
labels the queue needs for the accuracy that random choice reaches with each share. Goal: at most 70 %.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.core import paths
from pipelines.core.dataset import read_dataset
from pipelines.core.params import Params, load_params
from pipelines.model.keras_classifier import build_classifier
from pipelines.train import loop
from pipelines.train.input import Split, read_split
from pipelines.train.schedule import plan_phases
from serving.observations.ranking import Embeddings, choose_next, informativeness

_ARCHITECTURE = "lenet"
_SHARE = 0.1
"""Of the training pictures: those that are labelled first, and in each round."""
_AT_ONCE = 20
"""Pictures that are asked for in one request."""
Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """The prepared sample."""

    train: Split
    val: Split
    test: Split
    classes: int


@dataclass(frozen=True, kw_only=True)
class Network:
    """What a trained network says."""

    accuracy: float
    """On the test pictures."""
    entropy: NDArray[np.float64]
    """Of the answer to each training picture, nats."""
    embeddings: Embeddings
    """Of each training picture."""


class _Silent:
    def before_first_epoch(self, state: Any) -> None: ...

    def after_epoch(self, state: Any, *, images_per_second: float) -> None: ...


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description="Labels that the queue needs beside random choice.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=6, help="shares of a tenth")
    arguments = parser.parse_args()
    params = load_params()
    pictures = _read(params)
    found: dict[str, list[list[float]]] = {"random": [], "queue": []}
    for seed in range(arguments.seeds):
        for way in found:
            found[way].append(_simulate(pictures, params, way, seed=seed, rounds=arguments.rounds))
            print(f"seed {seed}, {way}: {[round(one, 3) for one in found[way][-1]]}", file=sys.stderr)
    print("\n".join(table({way: np.mean(runs, axis=0).tolist() for way, runs in found.items()})))


def _read(params: Params) -> Pictures:
    dataset = read_dataset(paths.DATASET)
    with tempfile.TemporaryDirectory() as folder:
        train, val, test = (
            read_split(
                paths.PREPARED_IMAGES / split,
                dataset.input,
                classes=dataset.classes,
                cache_mib=params.training.cache_mib,
                cache=Path(folder) / f"{split}.npy",
            )
            for split in ("train", "val", "test")
        )
    return Pictures(train=train, val=val, test=test, classes=len(dataset.classes))


def _simulate(pictures: Pictures, params: Params, way: str, *, seed: int, rounds: int) -> list[float]:
    """Test accuracy after each round."""
    random = np.random.default_rng(seed)
    count = round(_SHARE * len(pictures.train))
    # Both ways of a seed start with the same pictures.
    order = random.permutation(len(pictures.train))
    labelled, accuracies = order[:count], []
    for done in range(1, rounds + 1):
        network = _trained(pictures, labelled, params, seed=seed)
        accuracies.append(network.accuracy)
        if way == "random":
            labelled = order[: count * (done + 1)]
        else:
            labelled = np.concatenate([labelled, next_rows(network, labelled, pictures.classes, count)])
    return accuracies


def next_rows(network: Network, labelled: Rows, classes: int, count: int) -> Rows:
    """Rows that the queue offers next, as a person labels `_AT_ONCE` of them after the other."""
    known = labelled.tolist()
    rest = np.setdiff1d(np.arange(len(network.entropy)), labelled)
    nothing = np.full(len(network.entropy), np.nan)
    scores = informativeness(
        entropy=network.entropy,
        classes=np.full(len(network.entropy), classes),
        novelty=nothing,
        disagreement=nothing,
    )
    chosen: list[int] = []
    while len(chosen) < count and len(rest):
        limit = min(_AT_ONCE, count - len(chosen))
        labelled_now = network.embeddings[np.array([*known, *chosen])]
        rows = choose_next(network.embeddings[rest], scores[rest], labelled=labelled_now, limit=limit)
        if not rows:
            break
        chosen += rest[rows].tolist()
        rest = np.setdiff1d(rest, rest[rows])
    return np.array(chosen, np.int64)


def _trained(pictures: Pictures, rows: Rows, params: Params, *, seed: int) -> Network:
    import keras

    strategy = loop.set_up(params.training, seed=seed)
    model = params.model(_ARCHITECTURE)
    height, width = pictures.train.images.shape[1:3]
    classifier = build_classifier(
        _ARCHITECTURE, model, head=params.head, height=height, width=width, classes=pictures.classes
    )
    train = Split(images=pictures.train.images[rows], labels=pictures.train.labels[rows])
    loop.train(
        classifier,
        loop.Data(train=train, val=pictures.val, classes=pictures.classes),
        settings=loop.Settings(
            phases=plan_phases(model, origin="scratch"),
            training=params.training,
            augmentation=params.augmentation,
            seed=seed,
        ),
        strategy=strategy,
        listener=_Silent(),
    )
    features = keras.Model(classifier.model.input, classifier.model.get_layer("logits").input)
    answers = classifier.model.predict(pictures.test.images, verbose=0).argmax(axis=1)
    logits = np.asarray(classifier.model.predict(pictures.train.images, verbose=0), np.float64)
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exponents / exponents.sum(axis=1, keepdims=True)
    vectors = np.asarray(features.predict(pictures.train.images, verbose=0), np.float32)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return Network(
        accuracy=float((answers == pictures.test.labels).mean()),
        entropy=-(probabilities * np.log(np.maximum(probabilities, 1e-12))).sum(axis=1),
        embeddings=Embeddings(
            models=np.full(len(vectors), "one"),
            vectors=(vectors / np.where(norms > 0, norms, 1)).astype(np.float32),
        ),
    )


def needed(queue: Sequence[float], accuracy: float) -> float | None:
    """Share of labels with which the queue reaches an accuracy, linear between rounds; None if it never does.

    Accuracies are made monotonous first: more labels never count for less.
    """
    reached = np.maximum.accumulate(queue)
    shares = _SHARE * np.arange(1, len(queue) + 1)
    if accuracy > reached[-1]:
        return None
    if accuracy <= reached[0]:
        return float(shares[0])
    at = int(np.searchsorted(reached, accuracy))
    part = (accuracy - reached[at - 1]) / (reached[at] - reached[at - 1])
    return float(shares[at - 1] + part * (shares[at] - shares[at - 1]))


def table(accuracies: Mapping[str, Sequence[float]]) -> list[str]:
    """Lines of Markdown."""
    random, queue = accuracies["random"], accuracies["queue"]
    lines = [
        "| labels | random | queue | labels that the queue needs for random's accuracy |",
        "|---|---|---|---|",
    ]
    for index, (one, other) in enumerate(zip(random, queue, strict=True)):
        share = _SHARE * (index + 1)
        enough = needed(queue, one)
        ratio = "–" if not index else "not reached" if enough is None else f"{enough / share:.0%}"
        lines.append(f"| {share:.0%} | {one:.3f} | {other:.3f} | {ratio} |")
    return lines


if __name__ == "__main__":
    main()
