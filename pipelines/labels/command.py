"""The command: reads a model's answers to pictures that it was not trained on, writes probable label errors.

    python -m pipelines.labels            # of the model that `compare` selected
    python -m pipelines.labels vgg        # of another one

`reports/labels/relabel.csv` is for a person to correct: `label` is the suggestion, an empty one leaves the
picture out; rows whose given label is right are removed. `prepare` applies a copy in `data/relabel.csv`.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipelines.core import paths
from pipelines.core.dataset import read_dataset
from pipelines.core.errors import OptionError
from pipelines.core.io import replacing
from pipelines.core.manifest import read_manifest
from pipelines.core.results import read_comparison
from pipelines.labels.sheet import Suspect, write_sheet
from pipelines.metrics import Answers
from pipelines.metrics.label_errors import LabelErrors, find_label_errors

SHEET = paths.LABELS / "sheet.png"
TABLE = paths.LABELS / "relabel.csv"
COLUMNS = ("file", "label", "given", "split", "probability", "probability_of_given")
"""Of the table; `prepare` reads the first two."""
_SHOWN = 48
"""Pictures on the sheet."""


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgedLabels:
    """Labels of pictures that a model was not trained on, and what confident learning says of them."""

    answers: Answers
    errors: LabelErrors
    files: Sequence[str]
    """Paths of the originals, relative to `data/`."""
    sources: Sequence[str]
    """Locators of the originals."""
    splits: Sequence[str]


def judge_labels(root: Path, variant: str) -> JudgedLabels:
    """Judge the labels of the validation and test pictures by the answers of one evaluated variant.

    Args:
        root: of the repository.
        variant: name of an evaluated variant.

    Raises:
        OptionError: it was not evaluated.
    """
    path = root / paths.evaluation_predictions(variant)
    if not path.exists():
        expected = f"an evaluated model: {path} does not exist, run `dvc repro`"
        raise OptionError(option="variant", got=variant, expected=expected)
    classes = read_dataset(root / paths.DATASET).classes
    predictions = pd.read_parquet(path)
    sources = read_manifest(root / paths.MANIFEST).set_index("path")["source"]
    answers = Answers.of(
        list(predictions["label"]), predictions[[f"p_{name}" for name in classes]].to_numpy(), classes
    )
    locators = [str(sources[name]) for name in predictions["path"]]
    return JudgedLabels(
        answers=answers,
        errors=find_label_errors(answers),
        files=[locator.partition("/")[2] for locator in locators],
        sources=locators,
        splits=list(predictions["split"]),
    )


def write_table(path: Path, judged: JudgedLabels) -> int:
    """Write the probable errors, the most probable first; return their number."""
    classes, errors = judged.answers.classes, judged.errors
    ranked = errors.ranked()
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for index in ranked:
            given, suggested = judged.answers.actual[index], errors.suggested[index]
            row = judged.answers.probabilities[index]
            writer.writerow(
                (
                    judged.files[index],
                    classes[suggested],
                    classes[given],
                    judged.splits[index],
                    f"{row[suggested]:.3f}",
                    f"{row[given]:.3f}",
                )
            )
    return len(ranked)


def describe(judged: JudgedLabels) -> Iterator[str]:
    """The estimated share of wrong labels, overall and by class, as lines for the terminal."""
    errors, classes = judged.errors, judged.answers.classes
    splits = " and ".join(sorted(set(judged.splits)))
    yield f"{len(judged.files):,} labels of {splits}; estimated share of wrong ones: {errors.share:.1%}"
    for index, name in enumerate(classes):
        share = errors.share_by_class[index]
        support = int((judged.answers.actual == index).sum())
        others = errors.joint[index].copy()
        others[index] = 0
        often = f", most often {classes[int(others.argmax())]}" if others.any() else ""
        shown = "–" if np.isnan(share) else f"{share:.1%}"
        yield f"  {name:<12} {support:>6,} pictures  {shown:>6} wrong{often}"


def main() -> None:
    """Find, write, say what was written and what to do with it."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.labels", description="Find labels that are probably wrong."
    )
    parser.add_argument("variant", nargs="?", help="an evaluated model (the selected one)")
    parser.add_argument(
        "--sheet", type=int, default=_SHOWN, metavar="N", help=f"pictures on the sheet ({_SHOWN})"
    )
    arguments = parser.parse_args()
    if arguments.sheet < 1:
        raise OptionError(option="--sheet", got=arguments.sheet, expected="at least 1")
    root = Path()
    variant = arguments.variant or read_comparison(root).selected
    judged = judge_labels(root, variant)
    print(f"judged by {variant}:", *describe(judged), sep="\n")
    found = write_table(root / TABLE, judged)
    if not found:
        print(f"no label is probably wrong; {TABLE} is empty")
        return
    write_sheet(root / SHEET, list(_suspects(judged))[: arguments.sheet], root=root)
    print(
        f"{TABLE}: {found:,} probable errors, {SHEET}: the first {min(found, arguments.sheet)}",
        f"Keep the rows that you agree with, empty `label` to leave a picture out, copy the table to "
        f"{paths.RELABEL} and run `dvc add data && dvc repro`.",
        sep="\n",
    )


def _suspects(judged: JudgedLabels) -> Iterator[Suspect]:
    classes, errors = judged.answers.classes, judged.errors
    for index in errors.ranked():
        suggested = int(errors.suggested[index])
        yield Suspect(
            locator=judged.sources[index],
            given=classes[judged.answers.actual[index]],
            suggested=classes[suggested],
            probability=float(judged.answers.probabilities[index, suggested]),
        )
