"""`python -m benchmarks.robustness`: every variant on the same corrupted test pictures, in one table.

In a checkout where networks are evaluated (`make run`): float and int8 variants, each judged as the stage
`robustness` judges the selected one. Variants without their files are named below the table. Nothing is
written, unless `--out` names a file.

    python -m benchmarks.robustness                                         # all that are there
    python -m benchmarks.robustness lenet vgg-int8 --pictures 50
    python -m benchmarks.robustness --out reports/robustness-all.json

Printed, as Markdown: percentages with 95 % intervals, the smallest error first. Each variant answers
24 × `robustness.pictures` (200) pictures, which takes its latency for each and some 10 s more.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.core.cli import run_stage
from pipelines.core.errors import ModelFileError, OptionError, ResultCorrupt
from pipelines.core.params import Params, load_params
from pipelines.core.records import write_record
from pipelines.core.variants import all_variants, architecture_of, is_int8
from pipelines.metrics import IntervalEstimate
from pipelines.robustness.record import Robustness
from pipelines.robustness.stage import measure, read_draw

_HEADINGS = (
    "architecture",
    "variant",
    "accuracy",
    "mean corruption error",
    "worst corruption, severity: accuracy",
    "ECE, corrupted",
)


@dataclass(frozen=True, kw_only=True)
class RobustnessComparison:
    """The variants of a checkout on the same corrupted pictures; what `--out` writes."""

    dataset: str
    """Digest of the prepared data."""
    variants: tuple[Robustness, ...]
    """The smallest mean corruption error first."""
    missing: Mapping[str, str]
    """Variant that was not judged → why, and what to do."""


def main() -> None:
    """Judge and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.robustness",
        description="Compare all variants on the same corrupted test pictures.",
    )
    parser.add_argument("variants", nargs="*", metavar="MODEL", help="only these: vgg, lenet-int8, …")
    parser.add_argument(
        "--pictures", type=int, metavar="N", help="that are corrupted, in place of `robustness.pictures`"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write all scores, as JSON")
    arguments = parser.parse_args()
    params = load_params()
    names = all_variants(params.architectures)
    if unknown := [name for name in arguments.variants if name not in names]:
        raise OptionError(option="MODEL", got=unknown[0], expected=f"one of {', '.join(names)}")
    if arguments.pictures is not None:
        if arguments.pictures < 1:
            raise OptionError(option="--pictures", got=str(arguments.pictures), expected="at least 1")
        robustness = params.robustness.model_copy(update={"pictures": arguments.pictures})
        params = params.model_copy(update={"robustness": robustness})
    found = compare(Path(), arguments.variants or names, params)
    print("\n".join(table(found)))
    if not found.variants:
        sys.exit(1)
    if arguments.out is not None:
        write_record(arguments.out, found)


def compare(root: Path, names: Sequence[str], params: Params) -> RobustnessComparison:
    """Judge variants on the same pictures, one after another.

    Args:
        root: of the repository.
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


def table(found: RobustnessComparison) -> Iterator[str]:
    """Lines of Markdown: the table, then what is missing."""
    if found.variants:
        first = found.variants[0]
        yield f"{first.images} test pictures of {first.people} people, each corrupted in every way."
        yield ""
        yield f"| {' | '.join(_HEADINGS)} |"
        yield f"|{'---|' * len(_HEADINGS)}"
    for one in found.variants:
        worst = one.worst
        cells = (
            f"`{architecture_of(one.architecture)}`",
            "int8" if is_int8(one.architecture) else "float",
            _percent(one.clean_accuracy),
            _percent(one.mean_corruption_error),
            f"{worst.corruption}, {worst.severity}: {_percent(worst.accuracy)}",
            _percent(one.corrupted_ece),
        )
        yield f"| {' | '.join(cells)} |"
    if found.variants and found.missing:
        yield ""
    if found.missing:
        yield "Not judged:"
        yield ""
    for name, reason in found.missing.items():
        yield f"* `{name}`: {reason}"


def _percent(estimate: IntervalEstimate) -> str:
    """Value and 95 % interval."""
    if estimate.value is None:
        return "–"
    value = f"{100 * estimate.value:.1f}"
    if estimate.low is None or estimate.high is None:
        return value
    return f"{value} ({100 * estimate.low:.1f}–{100 * estimate.high:.1f})"


if __name__ == "__main__":
    run_stage(main)
