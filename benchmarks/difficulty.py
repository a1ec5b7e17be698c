"""`python -m benchmarks.difficulty [ARCHITECTURE …]`: how hard the committed sample is; about 1 minute.

Printed, as Markdown: how strongly expressions show; the share of hard pictures, with the accuracy of some
models on those of the test split; and the ceiling, the accuracy of classifiers that are given the true action
units instead of pixels. These learn from people who are not in the sample and are judged on all its pictures.
Expected: a ceiling of 0.997, networks below it, and every hard kind below the rest.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.core import paths
from sample_faces.dataset import SampleSpec, Shot, Sitting, draw_sitting, plan_shots

COMMITTED = SampleSpec(per_class=600, seed=20)
_OTHERS = replace(COMMITTED, per_class=1000, identities=(100_000, 102_333))
"""Pictures from which the ceiling's classifiers learn; none of these people is in the sample."""
_MODELS = ("vgg", "lenet", "vit")
_BOUNDS = (0.0, 0.25, 0.5, 0.75, 1.0)
_FAINT, _TURNED_DEG, _TILTED_DEG, _LOOSE = 0.25, 15.0, 9.0, 0.70
"""A face is hard below this intensity, or beyond these angles; and framed loosely beyond this window."""

Test = Callable[[Shot, Sitting], bool]


def is_occluded(shot: Shot, sitting: Sitting) -> bool:
    """Whether a hand, hair, a mask or a bar is in the way."""
    return sitting.scene.occluder != "none"


def is_turned(shot: Shot, sitting: Sitting) -> bool:
    """Whether the head is turned to the side, up or down."""
    pose = sitting.scene.pose
    return abs(pose.yaw_deg) > _TURNED_DEG or abs(pose.pitch_deg) > _TILTED_DEG


def is_faint(shot: Shot, sitting: Sitting) -> bool:
    """Whether the expression can barely be seen; a neutral face has none."""
    return shot.label != "neutral" and sitting.intensity < _FAINT


HARD: Mapping[str, Test] = {
    "occluded": is_occluded,
    "in low light": lambda shot, sitting: sitting.scene.is_dim,
    "turned (yaw > 15° or pitch > 9°)": is_turned,
    "barely visible (intensity < 0.25)": is_faint,
}


@dataclass(frozen=True, kw_only=True)
class Sample:
    """All pictures of a sample, unpainted."""

    shots: Sequence[Shot]
    sittings: Sequence[Sitting]

    @classmethod
    def of(cls, spec: SampleSpec) -> Sample:
        """What a specification draws."""
        shots = plan_shots(spec)
        return cls(shots=shots, sittings=[draw_sitting(spec, shot) for shot in shots])

    @property
    def labels(self) -> NDArray[np.str_]:
        """Class names [n]."""
        return np.array([shot.label for shot in self.shots])

    @property
    def action_units(self) -> NDArray[np.float32]:
        """[n, action units × 2 sides], 0–1."""
        return np.stack([sitting.expression.activation.reshape(-1) for sitting in self.sittings])

    def where(self, test: Test) -> NDArray[np.bool_]:
        """[n]: which pictures pass a test."""
        return np.array([test(*both) for both in zip(self.shots, self.sittings, strict=True)])


def main() -> None:
    """Draw without painting, judge, print."""
    parser = argparse.ArgumentParser(description="How hard the committed sample is.")
    parser.add_argument("architectures", nargs="*", default=list(_MODELS), help="evaluated models")
    architectures = parser.parse_args().architectures
    sample = Sample.of(COMMITTED)
    for table in (intensities(sample), hard_pictures(sample, architectures), ceilings(sample)):
        print("\n".join(table), end="\n\n", flush=True)


def intensities(sample: Sample) -> Iterator[str]:
    """Lines of a table: how strongly the expressions of faces that are not neutral show."""
    shown = np.array([sitting.intensity for sitting in sample.sittings])[sample.labels != "neutral"]
    counts, _ = np.histogram(shown, _BOUNDS)
    yield "| intensity | " + " | ".join(f"{low:g}–{high:g}" for low, high in pairwise(_BOUNDS)) + " |"
    yield "|---" * len(_BOUNDS) + "|"
    yield "| share | " + " | ".join(f"{count / len(shown):.1%}" for count in counts) + " |"


def hard_pictures(sample: Sample, architectures: Sequence[str]) -> Iterator[str]:
    """Lines of a table: kinds of pictures, their share, and how often models are right about them."""
    right = [_right(name, sample.shots) for name in architectures]
    hard = {name: sample.where(test) for name, test in HARD.items()}
    any_of = np.any(list(hard.values()), axis=0)
    loose = sample.where(lambda shot, sitting: sitting.scene.window.side > _LOOSE)
    kinds = {
        "all": np.ones(len(sample.shots), bool),
        **hard,
        "any of these four": any_of,
        "none of them": ~any_of,
    }
    yield "| pictures | share | test pictures | " + " | ".join(f"`{name}`" for name in architectures) + " |"
    yield "|---" * (3 + len(architectures)) + "|"
    for kind, chosen in (kinds | {"framed loosely (side > 0.70)": loose}).items():
        tested = chosen & ~np.isnan(right[0]) if right else chosen
        accuracies = [f"{np.nanmean(values[chosen]):.3f}" for values in right]
        yield f"| {' | '.join([kind, f'{chosen.mean():.1%}', f'{tested.sum():,}', *accuracies])} |"


def ceilings(sample: Sample) -> Iterator[str]:
    """Lines of a table: classifiers of the true action units, judged on all pictures."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression

    others = Sample.of(_OTHERS)
    clear = sample.where(lambda shot, sitting: shot.label == "neutral" or sitting.intensity >= 0.5)
    yield "| given the true action units | accuracy | neutral, or intensity ≥ 0.5 | the others |"
    yield "|---|---|---|---|"
    for name, classifier in {
        "multinomial logistic regression": LogisticRegression(C=100.0, max_iter=2000),
        "gradient boosting": HistGradientBoostingClassifier(max_iter=150, random_state=0),
    }.items():
        classifier.fit(others.action_units, others.labels)
        right = classifier.predict(sample.action_units) == sample.labels
        yield f"| {name} | {right.mean():.3f} | {right[clear].mean():.3f} | {right[~clear].mean():.3f} |"


def _right(architecture: str, shots: Sequence[Shot]) -> NDArray[np.float64]:
    """1 where a model is right about a test picture, 0 where it is wrong, NaN where it was not asked."""
    import pandas

    answers = pandas.read_parquet(paths.evaluation_predictions(architecture))
    answers = answers[answers["split"] == "test"]
    by_name = {
        Path(path).stem: float(label == predicted)
        for path, label, predicted in zip(
            answers["path"], answers["label"], answers["predicted"], strict=True
        )
    }
    return np.array([by_name.get(Path(shot.name).stem, np.nan) for shot in shots])


if __name__ == "__main__":
    main()
