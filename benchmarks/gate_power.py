"""`python -m benchmarks.gate_power`: errors and power of the gate's comparison; about 45 s.

The test set is as large as the sample's: 1,035 pictures of 345 people, three each, of seven classes. The
answers are simulated: production has the recalls of the recorded LeNet, people differ in how hard they are,
and a candidate answers half of the pictures again. The margins are those of params.yaml. Printed, as
Markdown, with 95 % intervals (Clopper & Pearson, 1934):

* how often each error happens when the two models' answers are exchanged within people, 2,000 times, with
  margins of 0: then neither model is worse, and both claims, "not worse" and "worse", are errors;
* how often the gate says what of candidates with a known drop, each with new people, and how often their
  drops are within the margins when intervals are ignored.

Expected: no error above 2.5 %, and every obviously broken candidate worse.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pipelines.core.params import load_params
from pipelines.core.results import read_evaluation
from pipelines.gate.estimates import Measured, Pictures, measure
from pipelines.gate.noninferiority import Drop, drops
from pipelines.gate.rules import margins
from pipelines.metrics.classification import Indices
from sample_faces.dataset import SampleSpec, plan_shots

PERMUTATIONS, CANDIDATES = 2000, 200
RESAMPLES = 1000
"""Fewer than the gate's, to save time; Holm's smallest level, 0.28 %, needs some hundred."""
PEOPLE = 345
RETRAINED = 0.5
"""Share of pictures that a candidate answers again, an assumption; it changes 11 % of predicted classes."""
SPREAD = 1.0
"""Standard deviation of how hard people are, in log-odds of a right answer."""
_CHUNK = 25
"""Pairs of models that share one set of resamples, as all verdicts of the gate do."""

POINTS = "within the margins by points"
COLUMNS = ("not worse", "unclear", "worse", POINTS)

Generator = np.random.Generator


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Answers of two models to the same pictures."""

    candidate: Indices
    production: Indices


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The test set and the models' true recalls."""

    pictures: Pictures
    recalls: NDArray[np.float64]
    """float64 [classes], of production."""

    @classmethod
    def of_sample(cls, root: Path) -> Bench:
        """Take people and labels from the sample's plan, recalls from the recorded evaluation of LeNet."""
        shots = [one for one in plan_shots(SampleSpec(per_class=600, seed=20)) if one.identity < PEOPLE]
        evaluated = read_evaluation(root, "lenet").classes
        classes = tuple(sorted(evaluated))
        pictures = Pictures(
            classes=classes,
            actual=np.array([classes.index(one.label) for one in shots], dtype=np.int64),
            groups=np.array([one.identity for one in shots]),
            slices={},
        )
        recalls = np.array([evaluated[name].recall or 0.0 for name in classes])
        # A recall of 0 or 1 has no log-odds.
        return cls(pictures=pictures, recalls=np.clip(recalls, 0.01, 0.99))

    def draw(self, random: Generator, falls: Mapping[str, float], *, retrained: float = RETRAINED) -> Pair:
        """Draw new people's answers.

        Args:
            random: source of randomness.
            falls: by how much the recall of each class is lower in the candidate; `*` for all classes.
            retrained: share of pictures that the candidate answers again.
        """
        actual, groups = self.pictures.actual, self.pictures.groups
        odds = np.log(self.recalls / (1 - self.recalls))[actual]
        person = random.normal(0, SPREAD, groups.max() + 1)[groups]
        # Shrunk, so that the mean over people is about the recall (Zeger, Liang & Albert, 1988).
        right = 1 / (1 + np.exp(-(odds * np.sqrt(1 + 0.346 * SPREAD**2) + person)))
        production = self._answer(random, right)
        again = random.random(len(actual)) < retrained
        candidate = np.where(again, self._answer(random, right), production)
        fall = np.array([falls.get(name, falls.get("*", 0.0)) for name in self.pictures.classes])
        lost = (candidate == actual) & (random.random(len(actual)) < (fall / self.recalls)[actual])
        return Pair(candidate=np.where(lost, self._wrong(random), candidate), production=production)

    def _answer(self, random: Generator, right: NDArray[np.float64]) -> Indices:
        hit = random.random(len(right)) < right
        return np.where(hit, self.pictures.actual, self._wrong(random))

    def _wrong(self, random: Generator) -> Indices:
        """Another class than the actual one for each picture."""
        classes = len(self.pictures.classes)
        return (self.pictures.actual + random.integers(1, classes, len(self.pictures.actual))) % classes

    def exchanged(self, random: Generator, pair: Pair) -> Pair:
        """Exchange the two models' answers to all pictures of about half of the people."""
        swap = (random.random(self.pictures.groups.max() + 1) < 0.5)[self.pictures.groups]
        return Pair(
            candidate=np.where(swap, pair.production, pair.candidate),
            production=np.where(swap, pair.candidate, pair.production),
        )


def compare(
    pictures: Pictures, pairs: Sequence[Pair], limits: Mapping[str, float]
) -> Iterator[dict[str, Drop]]:
    """Test the drops of many pairs of models as the gate does for one."""
    for start in range(0, len(pairs), _CHUNK):
        chunk = pairs[start : start + _CHUNK]
        models = [answers for pair in chunk for answers in (pair.candidate, pair.production)]
        measured = measure(pictures, models, samples=RESAMPLES)
        for place in range(len(chunk)):
            both = slice(2 * place, 2 * place + 2)
            yield drops({name: _of(measured[name], both) for name in limits}, limits)


def _of(measured: Measured, both: slice) -> Measured:
    return Measured(
        values=measured.values[both], resampled=measured.resampled[:, both], people=measured.people
    )


def decision(found: Mapping[str, Drop]) -> str:
    """The gate's decision: worse if any metric is, not worse if all are, else unclear."""
    outcomes = {one.outcome for one in found.values()}
    return next(one for one in ("worse", "unclear", "not worse") if one in outcomes)


def share(count: int, total: int) -> str:
    """Percentage with its 95 % interval."""
    ends = stats.binomtest(count, total).proportion_ci(0.95, method="exact")
    return f"{count / total:.1%} ({ends.low:.1%}–{ends.high:.1%})"


def errors(bench: Bench, limits: Mapping[str, float], *, permutations: int) -> dict[str, int]:
    """Count claims under exchange of answers, when each of them is an error.

    Returns:
        Claim → number of permutations with it.
    """
    random = np.random.default_rng(1)
    pair = bench.draw(random, {})
    pairs = [bench.exchanged(random, pair) for _ in range(permutations)]
    counts = dict.fromkeys(("accuracy not worse", "all not worse", "accuracy worse", "any worse"), 0)
    for found in compare(bench.pictures, pairs, dict.fromkeys(limits, 0.0)):
        counts["accuracy not worse"] += found["accuracy"].outcome == "not worse"
        counts["all not worse"] += decision(found) == "not worse"
        counts["accuracy worse"] += found["accuracy"].outcome == "worse"
        counts["any worse"] += decision(found) == "worse"
    return counts


def candidates(limits: Mapping[str, float]) -> dict[str, Mapping[str, float]]:
    """Name of a kind of candidate → by how much the recalls of its classes are lower."""
    margin, recall = limits["accuracy"], limits["class_recall.sad"]
    return {
        "as good, retrained": {},
        "lower by the margin": {"*": margin},
        "lower by twice the margin": {"*": 2 * margin},
        "lower by three times the margin": {"*": 3 * margin},
        "lower by four times the margin": {"*": 4 * margin},
        "recall of sad lower by twice its margin": {"sad": 2 * recall},
    }


def decisions(
    bench: Bench, limits: Mapping[str, float], falls: Mapping[str, float], *, count: int
) -> Counter[str]:
    """Count the decisions on candidates whose recalls are lower by `falls`, and those that pass by points."""
    random, counts = np.random.default_rng(2), Counter[str]()
    pairs = [bench.draw(random, falls) for _ in range(count)]
    for found in compare(bench.pictures, pairs, limits):
        counts[decision(found)] += 1
        counts[POINTS] += all(one.value <= limits[name] for name, one in found.items())
    return counts


def broken(bench: Bench, limits: Mapping[str, float]) -> Iterator[tuple[str, dict[str, Drop]]]:
    """Compare obviously broken candidates with production."""
    pair = bench.draw(np.random.default_rng(3), {})
    classes = len(bench.pictures.classes)
    sad = bench.pictures.classes.index("sad")
    collapsed = np.where(pair.candidate == sad, (sad + 1) % classes, pair.candidate)
    kinds = {"labels permuted": (pair.candidate + 1) % classes, "class sad collapsed": collapsed}
    pairs = [Pair(candidate=one, production=pair.production) for one in kinds.values()]
    yield from zip(kinds, compare(bench.pictures, pairs, limits), strict=True)


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description="Errors and power of the gate's comparison with production.")
    parser.add_argument("--permutations", type=int, default=PERMUTATIONS)
    parser.add_argument("--candidates", type=int, default=CANDIDATES)
    arguments = parser.parse_args()
    bench, gate = Bench.of_sample(Path()), load_params().gate
    names = ["accuracy", "macro_f1", *(f"class_recall.{name}" for name in bench.pictures.classes)]
    limits = margins(names, gate)
    print(f"| claim, an error | share of {arguments.permutations} permutations |\n|---|---|")
    for claim, count in errors(bench, limits, permutations=arguments.permutations).items():
        print(f"| {claim} | {share(count, arguments.permutations)} |", flush=True)
    print(f"\n| {arguments.candidates} candidates | {' | '.join(COLUMNS)} |\n|---|---|---|---|---|")
    for kind, falls in candidates(limits).items():
        found = decisions(bench, limits, falls, count=arguments.candidates)
        cells = (share(found[one], arguments.candidates) for one in COLUMNS)
        print(f"| {kind} | {' | '.join(cells)} |", flush=True)
    print("\n| candidate | worse |\n|---|---|")
    for kind, tests in broken(bench, limits):
        print(f"| {kind} | {', '.join(name for name, one in tests.items() if one.outcome == 'worse')} |")


if __name__ == "__main__":
    main()
