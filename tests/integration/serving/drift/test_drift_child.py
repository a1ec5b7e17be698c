"""A result computed by a real process with the real Evidently, and the ways in which that process can end."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from scipy import stats
from scipy.spatial import distance

from serving.drift.columns import columns_of
from serving.drift.compute import compute
from serving.drift.data import read_current, read_reference
from serving.drift.result import DriftRequest, DriftResult, WindowRule
from serving.drift.runner import compute_in_process
from serving.observations.records import Feedback
from serving.observations.store import Batch, Store
from tests.support.drift import CLASSES, reference_columns, write_reference
from tests.support.http_service import until
from tests.support.observing import MODEL, OTHER_FACES, observation
from tests.support.processes import command_of

RULE = WindowRule(last_n=90, min_rows=30)
PATIENCE_S = 300.0


def request(folder: Path, **changes: Any) -> DriftRequest:
    values: dict[str, Any] = {
        "database_url": f"sqlite:///{folder}/observations.db",
        "model_folder": str(folder / "model"),
        "model_version": MODEL.version,
        "model_sha256": MODEL.sha256,
        "window": RULE,
    }
    return DriftRequest(**values | changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """90 observations that are like the reference but for their brightness, 30 of them with feedback."""
    folder = tmp_path_factory.mktemp("drift")
    write_reference(folder / "model", reference_columns(people=30))
    seen = reference_columns(people=30, seed=5)
    names = ("contrast", "sharpness", "confidence", "entropy")
    rows = [
        observation(
            number,
            brightness=float(seen["brightness"][number]) + 0.3,
            predicted=str(seen["predicted"][number]),
            embedding=seen["embedding"][number].tobytes(),
            other_faces=OTHER_FACES,
            **{name: float(seen[name][number]) for name in names},
        )
        for number in range(90)
    ]
    feedback = [
        Feedback(observation_id=row.id, time=row.time, emotion=str(seen["label"][number]))
        for number, row in enumerate(rows[:30])
    ]
    # Of the second face half are right, of the third none.
    for number, row in enumerate(rows[:10]):
        for face, emotion in ((1, ("sad", "angry")[number % 2]), (2, "angry")):
            feedback.append(Feedback(observation_id=row.id, face=face, time=row.time, emotion=emotion))
    store = Store(f"sqlite:///{folder}/observations.db")
    store.write(Batch(observations=rows, feedback=feedback))
    store.close()
    return folder


@pytest.fixture(scope="module")
def done(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[DriftResult, str, str]:
    """Computed once: result, page, snapshot."""
    with compute_in_process(request(folder), timeout_s=PATIENCE_S) as done:
        assert done.html is not None, done.result.reason
        assert done.snapshot is not None
        return done.result, done.html.read_text("utf-8"), done.snapshot.read_text("utf-8")


def test_the_column_that_moved_is_found_and_no_other(done: tuple[DriftResult, str, str]) -> None:
    result = done[0]
    assert result.verdict == "drift"
    assert result.drifted == ("brightness",)
    assert result.reason == "brightness: farther from the reference than chance explains"
    assert result.window is not None
    assert (result.window.rows, result.window.total, result.window.sampled) == (90, 90, False)
    assert result.window.pictures_per_person == len(CLASSES)
    assert result.reference is not None
    assert (result.reference.rows, result.reference.people) == (90, 30)


def test_evidentlys_scores_are_the_distances_that_thresholds_are_made_of(
    folder: Path, done: tuple[DriftResult, str, str]
) -> None:
    store = Store(f"sqlite:///{folder}/observations.db")
    current = read_current(store, RULE, version=MODEL.version, sha256=MODEL.sha256)
    store.close()
    reference = read_reference(folder / "model")
    scores = {column.name: column.score for column in done[0].columns}
    for column in columns_of(reference, current.table).compared:
        if column.is_classes:
            shares = [np.array(list(facts.values())) for facts in column.facts()]
            expected = distance.jensenshannon(*shares)
        else:
            expected = stats.wasserstein_distance(column.reference, column.window) / column.reference.std()
        assert scores[column.name] == pytest.approx(expected), column.name


def test_quality_is_measured_where_feedback_exists(done: tuple[DriftResult, str, str]) -> None:
    quality = done[0].quality
    assert quality is not None
    assert quality.feedback is not None
    assert quality.feedback.rows == 30 + 2 * 10
    seen = reference_columns(people=30, seed=5)
    right = int((seen["label"] == seen["predicted"])[:30].sum()) + 5
    assert quality.feedback.accuracy == pytest.approx(right / 50)
    (evidently,) = [
        one["value"]
        for one in json.loads(done[2])["metric_results"].values()
        if one.get("display_name", "").startswith("Accuracy")
    ]
    assert evidently == pytest.approx(right / 50)
    assert "Accuracy" in done[1]


def test_the_page_loads_nothing_from_elsewhere(done: tuple[DriftResult, str, str]) -> None:
    assert not re.search(r"<(script|link|img|iframe)[^>]*(src|href)\s*=", done[1])
    assert "url(http" not in done[1]


def test_the_snapshot_goes_into_an_evidently_workspace(
    tmp_path: Path, done: tuple[DriftResult, str, str]
) -> None:
    """In a process of its own: Evidently warns of its dependencies while it is imported."""
    (tmp_path / "snapshot.json").write_text(done[2], "utf-8")
    code = """
from evidently.core.report import Snapshot
from evidently.ui.workspace import Workspace
workspace = Workspace.create("workspace")
project = workspace.create_project("drift")
run = Snapshot.loads(open("snapshot.json", encoding="utf-8").read())
workspace.add_run(project.id, run)
print(len(workspace.list_runs(project.id)), len(run.dict()["metrics"]))
"""
    output = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"DO_NOT_TRACK": "1"},
    )
    runs, metrics = output.stdout.split()[-2:]
    assert int(runs) == 1
    assert int(metrics) >= len(done[0].columns)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_folder": "/nowhere"}, "/nowhere/reference.parquet: there is no such file"),
        ({"window": WindowRule(min_rows=91)}, "only 90 observations of version 3"),
        ({"model_version": "7"}, "no observations of version 7"),
        ({"database_url": "sqlite:////dev/null/o.db"}, "sqlite:////dev/null/o.db"),
        ({"database_url": "mysql://h/d"}, "MIEN_DATABASE_URL"),
    ],
    ids=["no reference", "too few", "empty", "no database", "foreign database"],
)
def test_what_is_missing_is_said_in_one_sentence(
    folder: Path, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    """As the process does it, without a process."""
    result = compute(request(folder, **changes), tmp_path)
    assert result.verdict == "unknown"
    assert said in result.reason
    assert "\n" not in result.reason
    assert list(tmp_path.iterdir()) == []


def test_a_reference_without_a_column_is_said(folder: Path, tmp_path: Path) -> None:
    columns = reference_columns()
    del columns["sharpness"]
    write_reference(tmp_path, columns)
    with compute_in_process(request(folder, model_folder=str(tmp_path)), timeout_s=PATIENCE_S) as done:
        assert "the column sharpness is missing" in done.result.reason
        assert (done.html, done.snapshot) == (None, None)


def test_an_evidently_that_fails_is_said(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real one that cannot be imported: another package of its name comes first."""
    broken = tmp_path / "evidently"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise RuntimeError('half an installation\\nmore')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with compute_in_process(request(folder), timeout_s=PATIENCE_S) as done:
        reason = done.result.reason
    assert reason.startswith("drift could not be computed: RuntimeError: half an installation;")
    assert done.result.verdict == "unknown"


def test_a_process_that_takes_too_long_is_killed(folder: Path) -> None:
    with compute_in_process(request(folder), timeout_s=0.01) as done:
        assert "it took more than 0.01 s" in done.result.reason
    assert children() == []


def test_a_process_that_is_killed_is_said_and_showed_no_password(folder: Path) -> None:
    found: list[DriftResult] = []

    def run() -> None:
        with compute_in_process(request(folder), timeout_s=PATIENCE_S) as done:
            found.append(done.result)

    thread = threading.Thread(target=run)
    thread.start()
    until(children, PATIENCE_S)
    # Everybody on a machine can read the arguments of its processes.
    assert not any("observations.db" in part for part in children()[0].cmdline())
    children()[0].send_signal(signal.SIGKILL)
    thread.join(PATIENCE_S)
    assert "its process ended (killed by signal 9)" in found[0].reason


def test_a_service_that_ends_takes_the_process_with_it(folder: Path) -> None:
    ending = threading.Event()
    ending.set()
    with compute_in_process(request(folder), ending=ending) as done:
        assert "the service is ending" in done.result.reason
    assert children() == []


def test_a_value_that_is_not_a_number_is_counted_and_its_column_compared(
    folder: Path, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(folder / "observations.db")) as database:
        database.execute("VACUUM INTO ?", [str(tmp_path / "observations.db")])
    with closing(sqlite3.connect(tmp_path / "observations.db")) as database, database:
        first = "(SELECT id FROM observations ORDER BY time DESC LIMIT 1)"
        infinite = np.full(8, np.inf, np.float16).tobytes()
        database.execute(f"UPDATE observations SET sharpness = 9e999 WHERE id = {first}")  # noqa: S608 - no input
        database.execute(f"UPDATE observations SET embedding = ? WHERE id = {first}", [infinite])  # noqa: S608
    given = request(folder, database_url=f"sqlite:///{tmp_path}/observations.db")
    with compute_in_process(request(folder)) as whole, compute_in_process(given) as done:
        before = {column.name: column for column in whole.result.columns}
        after = {column.name: column for column in done.result.columns}
        assert done.result.verdict == "drift"
        assert after.keys() == before.keys()
        dropped = {name for name, column in after.items() if column.dropped == 1}
        assert dropped == {"sharpness", *(f"embedding_{number}" for number in range(1, 6))}
        assert after["brightness"].score == before["brightness"].score
        assert np.isfinite([column.score for column in after.values()]).all()
        assert "sharpness (1)" in done.result.reason


def test_the_process_ends_when_its_parent_is_killed(folder: Path, repository: Path) -> None:
    values = request(folder).dumps()
    code = (
        "from serving.drift.runner import compute_in_process\nfrom serving.drift.result import DriftRequest\n"
        f"with compute_in_process(DriftRequest.loads({values!r})) as done: pass"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], cwd=repository, env=os.environ | {"PYTHONPATH": str(repository)}
    )
    until(lambda: children(parent.pid), PATIENCE_S)
    child = children(parent.pid)[0]
    parent.kill()
    parent.wait()
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, PATIENCE_S)


def children(pid: int | None = None) -> list[psutil.Process]:
    """Those that compute drift."""
    below = psutil.Process(pid).children(recursive=True)
    return [child for child in below if "serving.drift.compute" in command_of(child)]
