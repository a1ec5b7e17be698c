"""`python -m benchmarks.drift [--model MODEL] [--tune]`: error rates of the drift alarm; about 5 minutes.

Pictures of people whom neither the model nor its reference has seen go through the real service (`python -m
serving`, over HTTP); windows of 500 are drawn from its observations, visit by visit, and compared with the
served model's reference by the service's own functions. It prints how often the alarm is raised: without any
shift, and with each of four. Expected: at most 5 % without, at least 95 % with each.

`--tune` prints the measurement that `false_alarms` was chosen by, on other people than the table's: many
references as large as the model's, drawn from the pool, each with windows of other people; about 10 minutes.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial import distance

from benchmarks.drift_pool import Pool, Service, running_service
from sample_faces.dataset import SampleSpec
from serving.drift.columns import Column, columns_of
from serving.drift.data import CurrentWindow, Probabilities, Reference, read_reference
from serving.drift.quality import estimate, measure
from serving.drift.result import DriftRequest
from serving.drift.thresholds import DRAWS, Traffic, null_scores, simultaneous_quantiles

# The sample's people are 0–1399; these were never drawn for it.
_TUNING, _TABLE, _SHIFTED, _GLASSES = 2000, 10_000, 12_000, 13_000
_SEED = 20
_CLASSES = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
_LEVELS = (0.05, 0.02, 0.01, 0.005, 0.002)
_REFERENCES, _WINDOWS_EACH = 40, 60


@dataclass(frozen=True, kw_only=True)
class Visits:
    """Visits: consecutive pictures of one person."""

    name: str
    mean: float
    """Pictures in a visit."""
    geometric: bool = True
    """Whether the lengths vary; otherwise each is the mean."""


_USUAL = Visits(name="visits of 3 pictures on average, geometric", mean=3)


def main() -> None:
    """Draw, replay, print."""
    parser = argparse.ArgumentParser(description="How often drift's alarm is right.")
    parser.add_argument("--model", help="as MIEN_MODEL; models:/emotion@production without it")
    parser.add_argument("--windows", type=int, default=100)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--tune", action="store_true", help="how the share of false alarms was chosen")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="mien-drift-", ignore_cleanup_errors=True) as folder,
        running_service(Path(folder), model=arguments.model) as service,
    ):
        reference = read_reference(service.model_folder)
        if arguments.tune:
            _tune(service, reference, rows=arguments.rows)
        else:
            _table(service, reference, windows=arguments.windows, rows=arguments.rows)


def _table(service: Service, reference: Reference, *, windows: int, rows: int) -> None:
    usual = service.answer(_spec(_TABLE, people=1000), "usual")
    limits = _limits(reference, usual, rows=rows, level=_false_alarms())
    print(
        "| window | alarms | by | accuracy | mean confidence | ATC | macro-F1 | expected | error of recalls |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    traffics = [
        _USUAL,
        Visits(name="every picture of another person", mean=1),
        Visits(name="visits of exactly 3", mean=3, geometric=False),
        Visits(name="visits of 6 on average, twice what is assumed", mean=6),
    ]
    for visits in traffics:
        _report(f"no shift; {visits.name}", reference, usual, limits, visits, windows=windows, rows=rows)
    for name, spec in _shifts().items():
        pool = service.answer(spec, name.replace(" ", "-"))
        _report(name, reference, pool, limits, _USUAL, windows=windows, rows=rows)
    for label in _CLASSES:
        _report(f"50 % {label}", reference, usual, limits, _USUAL, windows=windows, rows=rows, half=label)


def _shifts() -> dict[str, SampleSpec]:
    people = _spec(_SHIFTED, people=300)
    return {
        "darker by 30 %": replace(people, darker=0.3),
        "Gaussian blur, σ = 2 px": replace(people, blur=2.0),
        "new people, glasses and low light": replace(_spec(_GLASSES, people=300), glasses=1.0, low_light=1.0),
    }


def _spec(first: int, *, people: int) -> SampleSpec:
    """One picture of each emotion of each of `people` people."""
    return SampleSpec(per_class=people, seed=_SEED, identities=(first, first + people - 1), per_person=7)


def _false_alarms() -> float:
    return DriftRequest(database_url="", model_folder="", model_version="", model_sha256="").false_alarms


def _report(
    name: str,
    reference: Reference,
    pool: Pool,
    limits: dict[str, float],
    visits: Visits,
    *,
    windows: int,
    rows: int,
    half: str | None = None,
) -> None:
    rng = np.random.default_rng(_SEED)
    raised: Counter[str] = Counter()
    alarms, quality = 0, []
    for _ in range(windows):
        drawn = draw_window(rng, pool, visits, rows=rows, half=half)
        moved = drifted(reference, pool, drawn, limits)
        raised.update(moved)
        alarms += bool(moved)
        quality.append(_quality(reference, pool, drawn))
    columns = ", ".join(f"{column} {count}" for column, count in raised.most_common(3)) or "–"
    figures = " | ".join(f"{value:.2f}" for value in np.mean(quality, axis=0))
    print(f"| {name} | {alarms} of {windows} | {columns} | {figures} |")


def draw_window(
    rng: np.random.Generator, pool: Pool, visits: Visits, *, rows: int, half: str | None = None
) -> NDArray[np.intp]:
    """Rows of a pool in the order of traffic: one visitor after the other; half of them of one emotion."""
    order = np.argsort(pool.people, kind="stable")
    sizes = np.bincount(pool.people)
    starts = np.cumsum(sizes) - sizes
    drawn: list[int] = []
    while len(drawn) < rows:
        person = rng.integers(len(sizes))
        own = order[starts[person] : starts[person] + sizes[person]]
        length = int(rng.geometric(1 / visits.mean)) if visits.geometric else round(visits.mean)
        odds = np.ones(len(own))
        if half is not None:
            odds[pool.labels[own] == half] = len(_CLASSES) - 1
        drawn += rng.choice(
            own, length, replace=length > len(own) or half is not None, p=odds / odds.sum()
        ).tolist()
    return np.array(drawn[:rows], np.intp)


def drifted(reference: Reference, pool: Pool, rows: NDArray[np.intp], limits: dict[str, float]) -> list[str]:
    """Names of the columns of a window that are beyond their thresholds."""
    columns = columns_of(reference, pool.table.taken(rows)).compared
    return [column.name for column in columns if score(column) >= limits[column.name]]


def score(column: Column) -> float:
    """Equal to Evidently's score; a test of the service compares the two."""
    if column.is_classes:
        before, now = (list(facts.values()) for facts in column.facts())
        return float(distance.jensenshannon(before, now))
    return float(
        stats.wasserstein_distance(column.reference, column.window) / max(column.reference.std(), 0.001)
    )


def _limits(reference: Reference, pool: Pool, *, rows: int, level: float) -> dict[str, float]:
    names, scores = _null(reference, pool, rows=rows)
    return dict(zip(names, simultaneous_quantiles(scores, 1 - level).tolist(), strict=True))


def _null(reference: Reference, pool: Pool, *, rows: int) -> tuple[list[str], NDArray[np.float64]]:
    compared = columns_of(reference, pool.table).compared
    traffic = Traffic(rows=rows, per_person=len(reference.people) / reference.number_of_people)
    distances = {column.name: column.distance() for column in compared}
    return list(distances), null_scores(distances, reference.people, traffic, draws=DRAWS)


def _quality(
    reference: Reference, pool: Pool, rows: NDArray[np.intp]
) -> tuple[float, float, float, float, float, float]:
    """Accuracy and its two estimates; macro-F1 and its estimate; mean error of the expected recalls."""
    table, labels = pool.table.taken(rows), pool.labels[rows]
    current = CurrentWindow(
        table=table,
        probabilities=_taken(pool, rows),
        feedback=(None,) * len(rows),
        total=len(rows),
        sampled=False,
        since=0.0,
        until=0.0,
    )
    estimated, measured = estimate(reference, current), measure(labels, table.predicted)
    if estimated.cbpe is None or estimated.cbpe.macro_f1.value is None:
        raise SystemExit("error: the window has no probabilities")
    errors = [
        abs((expected.recall.value or 0.0) - float((table.predicted[labels == name] == name).mean()))
        for name, expected in estimated.cbpe.classes.items()
        if (labels == name).any()
    ]
    return (
        measured.accuracy,
        estimated.mean_confidence,
        estimated.atc,
        measured.macro_f1,
        estimated.cbpe.macro_f1.value,
        float(np.mean(errors)),
    )


def _tune(service: Service, reference: Reference, *, rows: int) -> None:
    pool = service.answer(_spec(_TUNING, people=1000), "tuning")
    rng = np.random.default_rng(_SEED)
    shares: dict[float, list[float]] = {level: [] for level in _LEVELS}
    for _ in range(_REFERENCES):
        chosen = rng.choice(int(pool.people.max()) + 1, reference.number_of_people, replace=False)
        inside = np.isin(pool.people, chosen)
        ours, others = _as_reference(pool, np.flatnonzero(inside)), _part(pool, np.flatnonzero(~inside))
        _, null = _null(ours, others, rows=rows)
        scores = _scores(rng, ours, others, rows=rows)
        for level in _LEVELS:
            beyond = scores >= simultaneous_quantiles(null, 1 - level)
            shares[level].append(float(beyond.any(axis=1).mean()))
    _print_tuning(shares)


def _scores(rng: np.random.Generator, reference: Reference, pool: Pool, *, rows: int) -> NDArray[np.float64]:
    """[windows, columns]."""
    return np.array(
        [
            [score(column) for column in columns_of(reference, pool.table.taken(drawn)).compared]
            for drawn in (draw_window(rng, pool, _USUAL, rows=rows) for _ in range(_WINDOWS_EACH))
        ]
    )


def _print_tuning(shares: Mapping[float, Sequence[float]]) -> None:
    print("| wanted | mean of the references | 90 % of them at most | the worst |")
    print("|---|---|---|---|")
    for level, found in shares.items():
        print(f"| {level:.1%} | {np.mean(found):.1%} | {np.quantile(found, 0.9):.1%} | {np.max(found):.1%} |")


def _part(pool: Pool, rows: NDArray[np.intp]) -> Pool:
    people = np.unique(pool.people[rows], return_inverse=True)[1].astype(np.intp)
    return Pool(
        table=pool.table.taken(rows),
        people=people,
        labels=pool.labels[rows],
        probabilities=_taken(pool, rows),
    )


def _taken(pool: Pool, rows: NDArray[np.intp]) -> Probabilities:
    return Probabilities(classes=pool.probabilities.classes, values=pool.probabilities.values[rows])


def _as_reference(pool: Pool, rows: NDArray[np.intp]) -> Reference:
    part = _part(pool, rows)
    return Reference(table=part.table, labels=part.labels, people=part.people)


if __name__ == "__main__":
    main()
