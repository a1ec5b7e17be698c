"""The scoring flow: folders, tables of paths and S3 give the same rows; a kill costs no finished chunk."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL

from flows.scoring.flow import ARTIFACTS, scoring
from serving.score.scorer import score_folder
from tests.support.buckets import bucket_server, filled
from tests.support.drift import add_reference, picture
from tests.support.drifting import PEOPLE, REFERENCE_PEOPLE, ROWS
from tests.support.pictures import encoded
from tests.support.prefect_server import newest_artifact, runs_of
from tests.support.scoring import pictures_in, scorer_in
from tests.support.serving_models import LEVELS, model_folder

pytestmark = pytest.mark.usefixtures("prefect_api")

REPOSITORY = Path(__file__).parents[4]
PATIENCE_S = 300.0


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model in a folder, with a reference, as MIEN_MODEL."""
    folder = add_reference(model_folder(tmp_path / "model"), people=REFERENCE_PEOPLE)
    monkeypatch.setenv("MIEN_MODEL", str(folder))
    monkeypatch.setenv("MIEN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("MIEN_DATABASE_URL", f"sqlite:///{tmp_path}/observations.db")
    monkeypatch.setenv("MIEN_DRIFT_MIN_ROWS", str(ROWS))
    return folder


def run(source: object, out: Path, **parameters: Any) -> tuple[str | None, str]:
    """Name and message of the last state."""
    given = {"faces": "none", "drift": False, "chunk": 4} | parameters
    state = scoring(str(source), str(out), **given, return_state=True)
    return state.name, state.message or ""


def rows(path: Path) -> list[dict[str, Any]]:
    return list(pq.read_table(path).to_pylist())


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Ten pictures, one of them broken and one empty."""
    folder = pictures_in(tmp_path / "pictures", 10)
    (folder / "00003.png").write_bytes(b"no picture")
    (folder / "00004.png").write_bytes(b"")
    return folder


def test_every_source_gives_the_rows_of_the_command_line(
    model: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = tmp_path / "plain.parquet"
    score_folder(scorer_in(tmp_path), pictures, plain)
    # Versions are called differently where a folder is the model.
    expected = [without_version(row) for row in rows(plain)]
    assert sum(row["error"] is not None for row in expected) == 2

    out = tmp_path / "folder.parquet"
    name, said = run(pictures, out)
    assert name == "Completed", said
    assert "10 files, 2 of them with a problem" in said
    assert [without_version(row) for row in rows(out)] == expected
    assert not Path(f"{out}.parts").exists()
    assert run(pictures, out) == ("unchanged", f"{out} already has all 10 files")

    names = [path.name for path in sorted(pictures.iterdir())]
    pq.write_table(pa.table({"path": [str(pictures / name) for name in names]}), tmp_path / "paths.parquet")
    name, said = run(tmp_path / "paths.parquet", tmp_path / "table.parquet")
    assert name == "Completed", said
    assert [
        without_version(row) | {"path": Path(row["path"]).name} for row in rows(tmp_path / "table.parquet")
    ] == (expected)

    with bucket_server(monkeypatch) as client:
        objects = {f"inbox/{path.name}": path.read_bytes() for path in pictures.iterdir()}
        filled(client, "faces", objects | {"inbox/": b"", "inbox/.hidden": b"x", "inbox2/other.png": b"x"})
        name, said = run("s3://faces/inbox/", tmp_path / "bucket.parquet", embedding=True)
    assert name == "Completed", said
    found = rows(tmp_path / "bucket.parquet")
    assert len(found[0].pop("embedding")) == 6
    assert [without_version(row) for row in found] == expected


def without_version(row: dict[str, Any]) -> dict[str, Any]:
    left_out = ("model_version", "embedding")
    return {name: value for name, value in row.items() if name not in left_out}


def test_a_batch_is_compared_with_the_models_reference(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "dark"
    folder.mkdir()
    for person in range(200, 200 + PEOPLE):
        for index in range(len(LEVELS)):
            (folder / f"{person}-{index}.png").write_bytes(encoded(picture(person, index, share=0.7)))
    out = tmp_path / "out.parquet"
    name, said = run(folder, out, drift=True, chunk=50)
    assert name == "Completed"
    assert "; drift: " in said
    assert "brightness" in said
    result = json.loads(Path(f"{out}.drift.json").read_text())
    assert result["verdict"] == "drift"
    assert result["window"]["rows"] == ROWS
    assert "Drift in column" in Path(f"{out}.drift.html").read_text()
    assert "embedding" not in pq.read_schema(out).names
    with get_client(sync_client=True) as client:
        assert f"{ROWS} answers" in newest_artifact(client, ARTIFACTS[1])["data"]


def test_a_clusters_nodes_give_the_same_rows(model: Path, pictures: Path, tmp_path: Path) -> None:
    assert run(pictures, tmp_path / "here.parquet")[0] == "Completed"
    out = tmp_path / "nodes.parquet"
    # As a command: what its own module holds has to travel to the nodes. Dask's, for Ray listens on
    # every interface, which not every machine allows.
    command = [sys.executable, "-m", "flows.scoring", str(pictures), "--out", str(out), "--engine", "dask"]
    ran = subprocess.run(
        [*command, "--no-drift", "--faces", "none", "--chunk", "4"],
        cwd=REPOSITORY,
        env=os.environ | {"PREFECT_API_URL": PREFECT_API_URL.value()},
        timeout=PATIENCE_S,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert rows(out) == rows(tmp_path / "here.parquet")


def test_a_killed_run_is_gone_on_with(model: Path, tmp_path: Path) -> None:
    pictures, out = pictures_in(tmp_path / "pictures", 160), tmp_path / "out.parquet"
    parts = Path(f"{out}.parts")
    command = [sys.executable, "-m", "flows.scoring", str(pictures), "--out", str(out), "--no-drift"]
    with subprocess.Popen(
        [*command, "--faces", "none", "--chunk", "1"],
        cwd=REPOSITORY,
        env=os.environ | {"PREFECT_API_URL": PREFECT_API_URL.value()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + PATIENCE_S
        while process.poll() is None and len(list(parts.glob("0*.parquet"))) < 3:
            assert time.monotonic() < deadline
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    kept = len(list(parts.glob("0*.parquet")))
    assert 3 <= kept < 160
    # The rest is enough work for a test; what is missing is known by what is there.
    for path in sorted(parts.glob("0*.parquet"))[:1]:
        for number in range(kept, 157):
            shutil.copyfile(path, parts / f"{number:08}.parquet")
    name, said = run(pictures, out, chunk=1)
    assert name == "Completed", said
    assert "160 files" in said
    assert len(rows(out)) == 160
    with get_client(sync_client=True) as client:
        newest = runs_of(client, "scoring")[0]
        asked = {"flow_runs": {"id": {"any_": [str(newest.id)]}}, "limit": 200}
        ran = client.request("POST", "/task_runs/filter", json=asked).json()
    assert sorted(task["name"] for task in ran) == ["chunk 157", "chunk 158", "chunk 159"]


def test_what_cannot_be_scored_is_one_sentence_and_leaves_nothing(
    model: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    pq.write_table(pa.table({"file": ["a"]}), tmp_path / "other.parquet")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    before = sorted(path.name for path in tmp_path.iterdir())
    for source, out, parameters, expected in (
        (
            tmp_path / "nowhere",
            "out.parquet",
            {},
            "the file does not exist; name a folder, a Parquet file or s3://",
        ),
        ("", "out.parquet", {}, "source='': it has no folder, file or bucket; name a folder"),
        (" ", "out.parquet", {}, "it has no folder, file or bucket"),
        ("s3://", "out.parquet", {}, "it has no folder, file or bucket"),
        (pictures, "out.parquet", {"engine": "abacus"}, "engine: got 'abacus', expected one of"),
        (pictures, "nowhere/out.parquet", {}, "nowhere/out.parquet.parts: No such file"),
        (tmp_path / "empty", "out.parquet", {}, "holds no file"),
        (tmp_path / "other.parquet", "out.parquet", {}, "name the column with the pictures' paths 'path'"),
        (pictures / "00001.png", "out.parquet", {}, "name a folder or a Parquet file"),
        ("s3://faces/inbox", "out.parquet", {}, "check the address, AWS_ENDPOINT_URL and the credentials"),
    ):
        name, said = run(source, tmp_path / out, **parameters)
        assert name == "Failed"
        assert expected in said
        assert "\n" not in said
    left = sorted(path.name for path in tmp_path.iterdir())
    assert [entry for entry in left if entry not in ("cache", *before)] == []
