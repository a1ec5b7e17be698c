"""Let a model answer corrupted test pictures: `python -m pipelines.robustness`.

    python -m pipelines.robustness                 # the selected model; writes reports/robustness.json
    python -m pipelines.robustness vgg lenet-int8  # these models; prints tables, writes nothing
    python -m pipelines.robustness --all           # all variants that are there, the most robust first
    python -m pipelines.robustness --all --pictures 50 --out robustness.json

Up to `robustness.pictures` test pictures are corrupted in eight ways at three severities. On the sample
LeNet takes some 10 s beside other work on two cores, and its accuracy falls from 0.94 to 0.85. A slower one
adds 4,800 times its latency.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.core import paths
from pipelines.core.dataset import Dataset, read_dataset
from pipelines.core.errors import ModelFileError, OptionError, ResultCorrupt
from pipelines.core.io import read_predictions
from pipelines.core.manifest import read_manifest
from pipelines.core.params import Params, load_params
from pipelines.core.records import write_record
from pipelines.core.results import read_comparison
from pipelines.core.variants import all_variants, architecture_of
from pipelines.metrics import IntervalEstimate
from pipelines.metrics.classification import Floats
from pipelines.model.predict import open_model
from pipelines.robustness.corruptions import CORRUPTIONS
from pipelines.robustness.pictures import draw, draw_digest, predict_corrupted
from pipelines.robustness.record import Robustness
from pipelines.robustness.scores import score
from serving.cores import usable_cores

if TYPE_CHECKING:
    import pandas
    from rich.table import Table


@dataclass(frozen=True, kw_only=True)
class Draw:
    """The pictures that every model is judged on."""

    rows: pandas.DataFrame
    """Of the manifest."""
    dataset: Dataset


def read_draw(root: Path, params: Params) -> Draw:
    """Draw the test pictures of a checkout.

    Raises:
        ManifestCorrupt: the manifest cannot be read.
        ResultCorrupt: the data set's description is missing or damaged.
    """
    rows = draw(read_manifest(root / paths.MANIFEST), most=params.robustness.pictures, seed=params.seed)
    return Draw(rows=rows, dataset=read_dataset(root / paths.DATASET))


def measure(root: Path, name: str, drawn: Draw, params: Params) -> Robustness:
    """Measure one variant. Its answers to the pictures as they are were made by `evaluate`.

    Args:
        root: of the repository.
        name: of the variant.
        drawn: the pictures.
        params: all parameters.

    Raises:
        ModelFileError: the model is missing or damaged, or was made from other data.
        ResultCorrupt: it was not evaluated on these pictures.
    """
    rows, dataset = drawn.rows, drawn.dataset
    classifier = open_model(root / paths.onnx_model(name), threads=usable_cores())
    if classifier.contract.dataset != dataset.dataset or classifier.contract.classes != dataset.classes:
        raise ModelFileError(
            path=root / paths.onnx_model(name),
            reason=f"trained on dataset {classifier.contract.dataset[:12]}, "
            f"the prepared one is {dataset.dataset[:12]}",
        )
    index = {label: position for position, label in enumerate(dataset.classes)}
    scores = score(
        np.array([index[label] for label in rows["label"]], dtype=np.int64),
        _clean_answers(root, name, list(rows["path"]), dataset.classes),
        predict_corrupted(classifier, list(rows["source"]), root),
        rows["group"].to_numpy(),
        samples=params.evaluate.bootstrap_samples,
        seed=params.seed,
    )
    return Robustness(**vars(scores), architecture=name, sha256=classifier.sha256, draw=draw_digest(rows))


def _clean_answers(root: Path, name: str, pictures: Sequence[str], classes: Sequence[str]) -> Floats:
    """Read the answers of `evaluate` to some pictures, float64 [n, classes]."""
    path, stage = root / paths.evaluation_predictions(name), f"evaluate@{architecture_of(name)}"
    table = read_predictions(path, stage=stage).set_index("path")
    missing = [picture for picture in pictures if picture not in table.index]
    if missing:
        raise ResultCorrupt(path=path, reason=f"no answer to {missing[0]}", stage=stage)
    columns = [f"p_{label}" for label in classes]
    return np.asarray(table.loc[list(pictures), columns].to_numpy(), dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class RobustnessComparison:
    """Variants of a checkout on the same corrupted pictures; what `--out` writes."""

    dataset: str
    """Digest of the prepared data."""
    variants: tuple[Robustness, ...]
    """The smallest mean corruption error first."""
    missing: Mapping[str, str]
    """Variant that was not judged → why, and what to do."""


def compare(root: Path, names: Sequence[str], params: Params) -> RobustnessComparison:
    """Judge variants on the same pictures, one after another.

    Args:
        root: of the checkout.
        names: of the variants.
        params: all parameters.

    Raises:
        ManifestCorrupt: the manifest cannot be read.
        ResultCorrupt: the data set's description is missing or damaged.
    """
    drawn = read_draw(root, params)
    measured, missing = [], {}
    for number, name in enumerate(names, start=1):
        print(f"{name}, {number} of {len(names)}", file=sys.stderr)
        try:
            measured.append(measure(root, name, drawn, params))
        except (ModelFileError, ResultCorrupt) as error:
            missing[name] = str(error)
    measured.sort(key=lambda one: (-(one.corrupted_accuracy.value or 0.0), one.architecture))
    return RobustnessComparison(dataset=drawn.dataset.dataset, variants=tuple(measured), missing=missing)


def render(results: Sequence[Robustness], *, width: int = 108) -> str:
    """Render two tables for a terminal: the scores of each model, and its accuracy by corruption."""
    from rich.console import Console

    first = results[0]
    scores = _table(
        f"{first.images} test pictures of {first.people} people, each corrupted in every way; in %, with "
        "95 % intervals",
        ("model", "accuracy", "corrupted", "extra error", "ECE", "corrupted", "worst case"),
    )
    cases = _table("Accuracy in % at severities 1 / 2 / 3", ("model", *CORRUPTIONS))
    for one in results:
        worst = one.worst
        estimates = (
            one.clean_accuracy,
            one.corrupted_accuracy,
            one.extra_error,
            one.clean_ece,
            one.corrupted_ece,
        )
        case = f"{worst.corruption} {worst.severity}: {_percent(worst.accuracy.value)}"
        scores.add_row(one.architecture, *map(_text, estimates), case)
        cases.add_row(one.architecture, *(_percentages(one.corruptions[name]) for name in CORRUPTIONS))
    console = Console(width=width, force_terminal=False, color_system=None)
    with console.capture() as captured:
        console.print(scores)
        console.print(cases)
    return "\n".join(line.rstrip() for line in captured.get().rstrip().splitlines())


def _table(title: str, headings: Sequence[str]) -> Table:
    """A table without rows; its first column is on the left."""
    from rich import box
    from rich.table import Table

    table = Table(
        title=title,
        title_justify="left",
        title_style="",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    for heading in headings:
        is_name = heading == headings[0]
        table.add_column(heading, justify="left" if is_name else "right", no_wrap=is_name)
    return table


def _text(estimate: IntervalEstimate) -> str:
    if estimate.low is None or estimate.high is None:
        return _percent(estimate.value)
    return f"{_percent(estimate.value)} ({_percent(estimate.low)}–{_percent(estimate.high)})"


def _percentages(accuracies: Sequence[IntervalEstimate]) -> str:
    return "/".join(_percent(one.value) for one in accuracies)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f}"


def main() -> None:
    """Measure the selected model and write the result, or print tables of the models that are named."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.robustness", description="Let models answer corrupted test pictures."
    )
    parser.add_argument(
        "variants", nargs="*", metavar="MODEL", help="print these instead: vgg, lenet-int8, …"
    )
    parser.add_argument("--all", action="store_true", help="print all variants of all architectures")
    parser.add_argument("--pictures", type=int, metavar="N", help="of those that are printed")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write what is printed, as JSON")
    arguments = parser.parse_args()
    root, params = Path(), load_params()
    names = all_variants(params.architectures)
    if unknown := [name for name in arguments.variants if name not in names]:
        raise OptionError(option="MODEL", got=unknown[0], expected=f"one of {', '.join(names)}")
    chosen = names if arguments.all else arguments.variants
    if not chosen:
        if arguments.pictures is not None or arguments.out is not None:
            raise OptionError(option="--pictures, --out", got="no model", expected="models, or --all")
        found = measure(root, read_comparison(root).selected, read_draw(root, params), params)
        write_record(root / paths.ROBUSTNESS, found)
        print(render([found]))
        return
    compared = compare(root, chosen, _with_pictures(params, arguments.pictures))
    if compared.variants:
        print(render(compared.variants))
    for name, reason in compared.missing.items():
        print(f"{name} is left out: {reason}", file=sys.stderr)
    if not compared.variants:
        sys.exit(1)
    if arguments.out is not None:
        write_record(arguments.out, compared)


def _with_pictures(params: Params, pictures: int | None) -> Params:
    if pictures is None:
        return params
    if pictures < 1:
        raise OptionError(option="--pictures", got=str(pictures), expected="at least 1")
    robustness = params.robustness.model_copy(update={"pictures": pictures})
    return params.model_copy(update={"robustness": robustness})
