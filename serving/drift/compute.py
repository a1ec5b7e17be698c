"""Compute one drift result in a separate process: `python -m serving.drift.compute`; about 5 s.

Reads one JSON object, a `Request`, from standard input (a database's URL may hold a password, and arguments
can be read by everybody on a machine) and leaves `result.json`, and with a verdict `report.html` and
`snapshot.json`, in the request's folder. Started through `serving.processes`, it ends with its parent.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from serving.drift.catalog import possible
from serving.drift.columns import Column, Columns, columns_of
from serving.drift.data import CurrentWindow, Reference, read_current, read_reference
from serving.drift.quality import quality_of
from serving.drift.result import (
    ColumnDrift,
    DriftRequest,
    DriftResult,
    ReferenceFacts,
    WindowFacts,
    unknown_result,
)
from serving.drift.runner import REPORT, RESULT, SNAPSHOT
from serving.drift.thresholds import Traffic, thresholds
from serving.errors import ServingError
from serving.errors.operation import DriftFailed
from serving.observations.store import Store

_METHODS = {False: "Wasserstein distance in standard deviations", True: "Jensen-Shannon distance"}

_log = logging.getLogger(__name__)


def compute(request: DriftRequest, folder: Path) -> DriftResult:
    """Compare the window with the reference; with a verdict, write page and snapshot to `folder`.

    Errors do not raise: they give the verdict `unknown` and its reason.
    """
    try:
        return _computed(request, folder)
    except ServingError as error:
        return unknown_result(error, request)
    except Exception as error:
        # Any error of Evidently, pandas or Arrow becomes the reason of an unknown verdict.
        _log.exception("drift could not be computed")
        return unknown_result(DriftFailed(reason=_first_line(error)), request)


def _computed(request: DriftRequest, folder: Path) -> DriftResult:
    reference = read_reference(Path(request.model_folder)).thinned(request.window.max_rows)
    current = _window(request)
    # The result's time is that of its data, not of the end of the computation.
    seen = time.time()
    columns = columns_of(reference, current.table)
    traffic = traffic_of(reference, current, per_person=request.pictures_per_person)
    limits = thresholds(
        {column.name: column.distance() for column in columns.compared},
        reference.people,
        traffic,
        false_alarms=request.false_alarms,
    )
    # Imported last: without rows or reference the slow import is not needed.
    from serving.drift.report import make_report

    report = make_report(
        columns.compared, limits, reference, current, model=f"version {request.model_version}"
    )
    (folder / REPORT).write_text(report.html, encoding="utf-8")
    (folder / SNAPSHOT).write_text(report.snapshot, encoding="utf-8")
    compared = tuple(_compared(column, report.scores, limits) for column in columns.compared)
    return DriftResult(
        verdict="drift" if any(column.drifted for column in compared) else "no drift",
        reason=_sentence(compared, columns),
        time=seen,
        model_version=request.model_version,
        model_sha256=request.model_sha256,
        window=_window_facts(current, traffic),
        reference=ReferenceFacts(rows=len(reference.people), people=reference.number_of_people),
        columns=compared,
        left_out=columns.left_out,
        quality=quality_of(reference, current),
    )


def _window(request: DriftRequest) -> CurrentWindow:
    if request.scores is not None:
        from serving.drift.data import read_scores

        return read_scores(Path(request.scores), request.window, version=request.model_version)
    store = Store(request.database_url)
    try:
        return read_current(store, request.window, version=request.model_version, sha256=request.model_sha256)
    finally:
        store.close()


def traffic_of(reference: Reference, current: CurrentWindow, *, per_person: float | None) -> Traffic:
    """Return the assumed traffic: visits as long as the reference's, thinned as the window was."""
    rows = len(current.table)
    given = per_person or len(reference.people) / reference.number_of_people
    return Traffic(rows=rows, per_person=max(1.0, given * rows / max(current.total, rows)))


def _compared(column: Column, scores: Mapping[str, float], limits: Mapping[str, float]) -> ColumnDrift:
    before, now = column.facts()
    score, limit = scores[column.name], limits[column.name]
    return ColumnDrift(
        name=column.name,
        method=_METHODS[column.is_classes],
        score=score,
        threshold=limit,
        drifted=score >= limit,
        reference=before,
        window=now,
        dropped=column.dropped,
        possible=possible(column.name),
    )


def _sentence(compared: tuple[ColumnDrift, ...], columns: Columns) -> str:
    moved = [column.name for column in compared if column.drifted]
    sentence = f"{', '.join(moved)}: farther from the reference than chance explains"
    if not moved:
        sentence = f"none of {len(compared)} columns is farther from the reference than chance explains"
    dropped = [f"{column.name} ({column.dropped})" for column in compared if column.dropped]
    if dropped:
        sentence += f"; values that are not numbers were left out of {', '.join(dropped)}"
    broken = [f"{name} ({reason})" for name, reason in columns.left_out.items() if name in columns.broken]
    return sentence + (f"; not compared: {', '.join(broken)}" if broken else "")


def _window_facts(current: CurrentWindow, traffic: Traffic) -> WindowFacts:
    return WindowFacts(
        rows=len(current.table),
        total=current.total,
        sampled=current.sampled,
        since=current.since,
        until=current.until,
        pictures_per_person=traffic.per_person,
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def main() -> None:
    """Read the request, compute, write the result."""
    folder = Path(sys.argv[1])
    # Below the priority of the processes that answer requests.
    os.nice(10)
    request = DriftRequest.loads(sys.stdin.readline())
    result = compute(request, folder)
    temporary = folder / f".{RESULT}"
    temporary.write_text(result.dumps(), encoding="utf-8")
    temporary.replace(folder / RESULT)


if __name__ == "__main__":
    main()
