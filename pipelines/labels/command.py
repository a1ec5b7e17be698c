"""The command: finds probable label errors in answers of models that were not trained on the pictures.

    python -m pipelines.labels                # validation and test pictures, by the selected model
    python -m pipelines.labels vgg            # by another evaluated one
    python -m pipelines.labels --folds 4      # all pictures: trains one LeNet per fold
    python -m pipelines.labels vgg --folds 4  # one VGG per fold

docs/benchmarks.md has durations. Folds that are stopped at any time go on with the same command.

`reports/labels/relabel.csv` is for a person to correct: `label` is the suggestion, an empty one leaves the
picture out; rows whose given label is right are removed. `prepare` applies a copy in `data/relabel.csv`;
pictures which that file names already were decided by a person and are not proposed again.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipelines.core import paths
from pipelines.core.dataset import read_dataset
from pipelines.core.errors import OptionError
from pipelines.core.io import replacing
from pipelines.core.manifest import read_manifest
from pipelines.core.params import Params, check_architecture, load_params
from pipelines.core.results import read_comparison
from pipelines.labels.cross_validation import answer_out_of_sample
from pipelines.labels.sheet import Suspect, write_sheet
from pipelines.metrics import Answers
from pipelines.metrics.label_errors import LabelErrors, find_label_errors

SHEET = paths.LABELS / "sheet.png"
TABLE = paths.LABELS / "relabel.csv"
COLUMNS = ("file", "label", "given", "split", "probability", "probability_of_given")
"""Of the table; `prepare` reads the first two."""
_ARCHITECTURE = "lenet"
"""Of the folds, unless another one is named: it trains fastest."""
_SHOWN = 48
"""Pictures on the sheet."""


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgedLabels:
    """Labels of pictures that their model was not trained on, and what confident learning says of them."""

    answers: Answers
    errors: LabelErrors
    files: Sequence[str]
    """Paths of the originals, relative to `data/`."""
    sources: Sequence[str]
    """Locators of the originals."""
    splits: Sequence[str]
    decided: frozenset[str] = frozenset()
    """Files whose label a person has decided."""

    @property
    def proposed(self) -> Sequence[int]:
        """Positions of the probable errors that are left to decide, the most probable first."""
        return [index for index in self.errors.ranked().tolist() if self.files[index] not in self.decided]


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
    return _judged(answers, sources=sources[predictions["path"]], splits=predictions["split"], root=root)


def judge_by_folds(name: str, params: Params, *, folds: int) -> JudgedLabels:
    """Judge the labels of all prepared pictures by one network per fold, from and to the project's paths.

    Args:
        name: of the architecture.
        params: all parameters.
        folds: their number, at least 2.

    Raises:
        PipelineError: see `cross_validation.answer_out_of_sample`.
    """
    found = answer_out_of_sample(name, params, folds=folds)
    answers = Answers.of(list(found.rows["label"]), found.probabilities, found.classes)
    return _judged(answers, sources=found.rows["source"], splits=found.rows["split"], root=Path())


def _judged(answers: Answers, *, sources: Iterable[str], splits: Iterable[str], root: Path) -> JudgedLabels:
    locators = list(sources)
    return JudgedLabels(
        answers=answers,
        errors=find_label_errors(answers),
        files=[locator.partition("/")[2] for locator in locators],
        sources=locators,
        splits=list(splits),
        decided=_decided(root / paths.RELABEL),
    )


def _decided(path: Path) -> frozenset[str]:
    """Files that `data/relabel.csv` names; `prepare` checks the rest of it."""
    if not path.exists():
        return frozenset()
    with path.open(encoding="utf-8-sig", newline="") as file:
        return frozenset((row.get("file") or "").strip() for row in csv.DictReader(file))


def write_table(path: Path, judged: JudgedLabels) -> int:
    """Write the probable errors that are left to decide, the most probable first; return their number."""
    classes, errors, proposed = judged.answers.classes, judged.errors, judged.proposed
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for index in proposed:
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
    return len(proposed)


def describe(judged: JudgedLabels) -> Iterator[str]:
    """The estimated share of wrong labels, overall and by class, as lines for the terminal."""
    errors, classes = judged.errors, judged.answers.classes
    splits = " and ".join(", ".join(sorted(set(judged.splits))).rsplit(", ", 1))
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
    arguments = _parser().parse_args()
    if arguments.sheet < 1:
        raise OptionError(option="--sheet", got=arguments.sheet, expected="at least 1")
    root = Path()
    if arguments.folds is None:
        variant = arguments.variant or read_comparison(root).selected
        judged, judge = judge_labels(root, variant), variant
    else:
        judged, judge = _judge_by_folds(arguments.variant or _ARCHITECTURE, arguments.folds)
    print(f"judged by {judge}:", *describe(judged), sep="\n")
    found = write_table(root / TABLE, judged)
    if not found:
        (root / SHEET).unlink(missing_ok=True)
        print(f"no other label is probably wrong; {TABLE} is empty")
        return
    write_sheet(root / SHEET, list(_suspects(judged))[: arguments.sheet], root=root)
    into = "add the rows" if judged.decided else "copy the table"
    print(
        f"{TABLE}: {found:,} probable errors, {SHEET}: the first {min(found, arguments.sheet)}",
        f"Nothing is changed yet. Keep the rows that you agree with, empty `label` to leave a picture out, "
        f"{into} to {paths.RELABEL} and run `dvc add data && dvc repro`.",
        sep="\n",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.labels", description="Find labels that are probably wrong."
    )
    parser.add_argument(
        "variant",
        nargs="?",
        help=f"an evaluated model (the selected one); with --folds an architecture ({_ARCHITECTURE})",
    )
    parser.add_argument(
        "--folds",
        type=int,
        metavar="K",
        help="judge the training pictures too: train K networks, each without the people that it judges",
    )
    parser.add_argument(
        "--sheet", type=int, default=_SHOWN, metavar="N", help=f"pictures on the sheet ({_SHOWN})"
    )
    return parser


def _judge_by_folds(name: str, folds: int) -> tuple[JudgedLabels, str]:
    if folds < 2:
        raise OptionError(option="--folds", got=folds, expected="at least 2")
    try:
        judged = judge_by_folds(check_architecture(name), load_params(), folds=folds)
    except KeyboardInterrupt:
        sys.exit(f"{name}: interrupted; the same command goes on after the last finished epoch")
    return judged, f"{folds} networks of {name}, each of the people that it did not see"


def _suspects(judged: JudgedLabels) -> Iterator[Suspect]:
    classes, errors = judged.answers.classes, judged.errors
    for index in judged.proposed:
        suggested = int(errors.suggested[index])
        yield Suspect(
            locator=judged.sources[index],
            given=classes[judged.answers.actual[index]],
            suggested=classes[suggested],
            probability=float(judged.answers.probabilities[index, suggested]),
        )
