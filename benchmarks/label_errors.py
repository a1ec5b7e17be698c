"""`python -m benchmarks.label_errors`: precision of the label check beside cleanlab's; some seconds.

In a checkout where `make run` has run: out-of-sample probabilities of a network for the validation and test
pictures, of whose labels a share is flipped to another class at random. Both find the probable errors by
confident learning, pruned by noise rate. cleanlab is not in the lock:

    uv pip install --target /tmp/cleanlab --no-deps cleanlab==2.9.0 termcolor==3.3.0
    PYTHONPATH=/tmp/cleanlab python -m benchmarks.label_errors

Printed, as Markdown: means over the draws. Goal: a precision of at least cleanlab's − 0.02.

    python -m benchmarks.label_errors lenet --folds 4

The same for training pictures: labels of all splits are flipped once, then K networks are trained, on flipped
labels too, and judge the pictures that they did not see. Takes as long as K trainings; goes on when stopped.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.core import paths
from pipelines.core.dataset import read_dataset, write_dataset
from pipelines.core.manifest import SCHEMA, digest, read_manifest, write_manifest
from pipelines.core.params import load_params
from pipelines.labels.cross_validation import answer_out_of_sample
from pipelines.metrics import Answers
from pipelines.metrics.label_errors import find_label_errors

_SHARES = (0.05, 0.1)
_DRAWS = 20
_NETWORKS = ("lenet", "resnet50")
_FOLDER = Path(".checkpoints", "label-errors")
Marks = NDArray[np.bool_]


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description="Precision of the label check beside cleanlab's.")
    parser.add_argument("networks", nargs="*", default=_NETWORKS)
    parser.add_argument("--folds", type=int, metavar="K", help="judge all pictures by K networks")
    parser.add_argument(
        "--folder", type=Path, default=_FOLDER, metavar="DIR", help=f"of the flipped project ({_FOLDER})"
    )
    arguments = parser.parse_args()
    if arguments.folds is None:
        lines = table(arguments.networks)
    else:
        lines = folds_table(arguments.networks, arguments.folds, arguments.folder)
    print("\n".join(lines))


def table(networks: Sequence[str]) -> Iterator[str]:
    """Lines of Markdown."""
    yield "| network | labels flipped | found | precision | recall | cleanlab: found | precision | recall |"
    yield "|---|---|---|---|---|---|---|---|"
    for network in networks:
        answers = read_answers(Path("evaluations") / network / "predictions.parquet")
        for share in _SHARES:
            rows = np.array([_compared(answers, share, seed) for seed in range(_DRAWS)])
            yield f"| `{network}` | {share:.0%} | {' | '.join(_cells(rows.mean(0).tolist()))} |"


def folds_table(networks: Sequence[str], folds: int, folder: Path) -> Iterator[str]:
    """Lines of Markdown: one network per fold, of labels of which the smaller share is flipped."""
    yield "| network, pictures | found | precision | recall | cleanlab: found | precision | recall |"
    yield "|---|---|---|---|---|---|---|"
    for network in networks:
        wrong = flip_project(Path(), folder / network, network, _SHARES[0])
        with contextlib.chdir(folder / network):
            answered = answer_out_of_sample(network, load_params(), folds=folds)
        answers = Answers.of(list(answered.rows["label"]), answered.probabilities, answered.classes)
        ours = find_label_errors(answers).wrong
        theirs = _of_cleanlab(answers.actual, answers.probabilities)
        training = (answered.rows["split"] == "train").to_numpy()
        for name, chosen in (("training", training), ("all", np.ones_like(training))):
            figures = [*scores(ours[chosen], wrong[chosen]), *scores(theirs[chosen], wrong[chosen])]
            yield f"| `{network}`, {name} | {' | '.join(_cells(figures))} |"


def flip_project(root: Path, folder: Path, network: str, share: float) -> Marks:
    """Make a project of the same pictures with a share of the labels flipped; returns which those are.

    Args:
        root: of a checkout whose sample is prepared.
        folder: of the new project; written again if it is there.
        network: whose pretrained weights the project gets.
        share: of the labels of all splits.
    """
    dataset, rows = read_dataset(root / paths.DATASET), read_manifest(root / paths.MANIFEST)
    index = {name: number for number, name in enumerate(dataset.classes)}
    labels = np.array([index[label] for label in rows["label"]], np.int64)
    changed, wrong = flipped(labels, len(dataset.classes), share, seed=0)
    rows["label"] = [dataset.classes[label] for label in changed]
    table = pa.Table.from_pandas(rows, SCHEMA, preserve_index=False)
    write_manifest(folder / paths.MANIFEST, table)
    write_dataset(folder / paths.DATASET, replace(dataset, dataset=digest(table, dataset.input)))
    for path in (paths.PARAMS, paths.PREPARED_IMAGES, paths.weights_folder(network)):
        link = folder / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to((root / path).absolute())
    return wrong


def _cells(figures: Sequence[float]) -> Iterator[str]:
    """Number, precision and recall of each of both, as they are printed."""
    for index, value in enumerate(figures):
        yield f"{value:.3f}" if index % 3 else f"{value:.0f}"


def read_answers(path: Path) -> Answers:
    """Labels and probabilities of a network's validation and test pictures."""
    rows = pd.read_parquet(path)
    classes = tuple(name.removeprefix("p_") for name in rows.columns if name.startswith("p_"))
    return Answers.of(
        rows["label"].tolist(), rows[[f"p_{name}" for name in classes]].to_numpy(np.float64), classes
    )


def flipped(
    labels: NDArray[np.int64], classes: int, share: float, seed: int
) -> tuple[NDArray[np.int64], Marks]:
    """Labels of which a share is another class at random, and which those are."""
    random = np.random.default_rng(seed)
    wrong = np.zeros(len(labels), np.bool_)
    wrong[random.choice(len(labels), round(share * len(labels)), replace=False)] = True
    changed = labels.copy()
    changed[wrong] = (labels[wrong] + random.integers(1, classes, int(wrong.sum()))) % classes
    return changed, wrong


def scores(found: Marks, wrong: Marks) -> tuple[float, float, float]:
    """Number of found ones, precision and recall."""
    right = float((found & wrong).sum())
    return float(found.sum()), right / max(1, int(found.sum())), right / max(1, int(wrong.sum()))


def _compared(answers: Answers, share: float, seed: int) -> tuple[float, ...]:
    labels, wrong = flipped(answers.actual, len(answers.classes), share, seed)
    changed = Answers(actual=labels, probabilities=answers.probabilities, classes=answers.classes)
    ours = scores(find_label_errors(changed).wrong, wrong)
    return (*ours, *scores(_of_cleanlab(labels, answers.probabilities), wrong))


def _of_cleanlab(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> Marks:
    try:
        from cleanlab.filter import find_label_issues
    except ImportError as error:
        raise SystemExit(
            f"error: cleanlab is not installed ({error}); the head of benchmarks/label_errors.py says how"
        ) from None
    total = probabilities.sum(axis=1, keepdims=True)
    found = find_label_issues(labels, probabilities / total, filter_by="prune_by_noise_rate", n_jobs=1)
    return np.asarray(found, np.bool_)


if __name__ == "__main__":
    main()
