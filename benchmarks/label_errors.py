"""`python -m benchmarks.label_errors`: precision of the label check beside cleanlab's; some seconds.

In a checkout where `make run` has run: out-of-sample probabilities of a network for the validation and test
pictures, of whose labels a share is flipped to another class at random. Both find the probable errors by
confident learning, pruned by noise rate. cleanlab is not in the lock:

    uv pip install --target /tmp/cleanlab --no-deps cleanlab==2.9.0 termcolor==3.3.0
    PYTHONPATH=/tmp/cleanlab python -m benchmarks.label_errors

Printed, as Markdown: means over the draws. Goal: a precision of at least cleanlab's − 0.02.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.metrics import Answers
from pipelines.metrics.label_errors import find_label_errors

_SHARES = (0.05, 0.1)
_DRAWS = 20
_NETWORKS = ("lenet", "resnet50")
Marks = NDArray[np.bool_]


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description="Precision of the label check beside cleanlab's.")
    parser.add_argument("networks", nargs="*", default=_NETWORKS)
    print("\n".join(table(parser.parse_args().networks)))


def table(networks: Sequence[str]) -> Iterator[str]:
    """Lines of Markdown."""
    yield "| network | labels flipped | found | precision | recall | cleanlab: found | precision | recall |"
    yield "|---|---|---|---|---|---|---|---|"
    for network in networks:
        answers = read_answers(Path("evaluations") / network / "predictions.parquet")
        for share in _SHARES:
            rows = np.array([_compared(answers, share, seed) for seed in range(_DRAWS)])
            cells = [
                f"{value:.0f}" if index % 3 == 0 else f"{value:.3f}"
                for index, value in enumerate(rows.mean(0))
            ]
            yield f"| `{network}` | {share:.0%} | {' | '.join(cells)} |"


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
