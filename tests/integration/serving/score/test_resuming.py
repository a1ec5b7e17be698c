"""A run that is ended at any moment goes on where it was, and comes to the same file, byte for byte."""

from __future__ import annotations

import fcntl
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from serving.errors.operation import OutputTaken, ScoringBegunOtherwise, ScoringRefused
from serving.score.scorer import score_folder
from serving.score.shards import ScoringProgress
from tests.support.scoring import pictures_in, scorer_in

COUNT, CHUNK = 40, 6
REPOSITORY = Path(__file__).parents[4]
PATIENCE_S = 120.0


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = pictures_in(tmp_path / "pictures", COUNT)
    (folder / "00011.png").write_bytes(b"no picture")
    return folder


@pytest.fixture
def unbroken(tmp_path: Path, pictures: Path) -> bytes:
    out = tmp_path / "unbroken.parquet"
    score_folder(scorer_in(tmp_path), pictures, out, chunk=CHUNK)
    return out.read_bytes()


class Ended(Exception):
    pass


def end_after(parts: int) -> Callable[[ScoringProgress], None]:
    def tell(progress: ScoringProgress) -> None:
        if progress.done >= parts * CHUNK:
            raise Ended

    return tell


def begun(tmp_path: Path, pictures: Path, *, parts: int = 3) -> Path:
    """A run that was ended after `parts` parts; returns the result's path."""
    out = tmp_path / "out.parquet"
    with pytest.raises(Ended):
        score_folder(scorer_in(tmp_path), pictures, out, chunk=CHUNK, notify=end_after(parts))
    return out


@pytest.mark.parametrize("parts", [0, 1, 6])
def test_finished_parts_are_kept(tmp_path: Path, pictures: Path, unbroken: bytes, parts: int) -> None:
    out = begun(tmp_path, pictures, parts=parts)
    kept = {path.name: path.stat().st_ino for path in Path(f"{out}.parts").glob("*.parquet")}
    assert len(kept) == parts
    updates: list[ScoringProgress] = []
    inodes: dict[str, int] = {}

    def tell(progress: ScoringProgress) -> None:
        updates.append(progress)
        inodes.update({path.name: path.stat().st_ino for path in Path(f"{out}.parts").glob("*.parquet")})

    result = score_folder(scorer_in(tmp_path), pictures, out, chunk=CHUNK, notify=tell)
    assert (result.done, result.failed) == (COUNT, 1)
    assert updates[0].done == parts * CHUNK
    assert kept.items() <= inodes.items()
    assert out.read_bytes() == unbroken
    assert not Path(f"{out}.parts").exists()


def without_plan(out: Path, parts: Path) -> None:
    """Killed while the files were listed."""
    shutil.rmtree(parts)
    parts.mkdir()
    (parts / "files").write_bytes(b"00001.png\x00000")


def half_a_part(out: Path, parts: Path) -> None:
    (parts / ".00000003.parquet").write_bytes(b"PAR1 half")


def half_a_whole(out: Path, parts: Path) -> None:
    (parts / ".whole").write_bytes(b"PAR1 half")


def in_place_and_not_tidied(out: Path, parts: Path) -> None:
    shutil.copyfile(out.with_name("unbroken.parquet"), out)


@pytest.mark.parametrize("state", [without_plan, half_a_part, half_a_whole, in_place_and_not_tidied])
def test_a_run_resumes_after_a_kill(
    tmp_path: Path, pictures: Path, unbroken: bytes, state: Callable[[Path, Path], None]
) -> None:
    out = begun(tmp_path, pictures)
    state(out, Path(f"{out}.parts"))
    result = score_folder(scorer_in(tmp_path), pictures, out, chunk=CHUNK)
    assert (result.files, result.done, result.failed) == (COUNT, COUNT, 1)
    assert out.read_bytes() == unbroken
    assert not Path(f"{out}.parts").exists()


def test_a_run_scores_what_was_there_when_it_began(tmp_path: Path, pictures: Path) -> None:
    out = begun(tmp_path, pictures)
    (pictures / "00000a.png").write_bytes(b"came")
    (pictures / "00030.png").unlink()
    score_folder(scorer_in(tmp_path), pictures, out, chunk=CHUNK)
    rows = {row["path"]: row["error"] for row in pq.read_table(out).to_pylist()}
    assert len(rows) == COUNT
    assert rows["00030.png"] == "file-unreadable"


@pytest.mark.parametrize(
    ("other", "chunk", "what"),
    [
        ({"version": 7}, CHUNK, "version"),
        ({"faces": "auto"}, CHUNK, "faces"),
        ({"embedding": True}, CHUNK, "embedding"),
        ({}, CHUNK + 1, "chunk"),
    ],
    ids=["model", "faces", "embedding", "chunk"],
)
def test_another_model_or_other_options_are_refused(
    tmp_path: Path, pictures: Path, other: dict[str, Any], chunk: int, what: str
) -> None:
    out = begun(tmp_path, pictures)
    with pytest.raises(ScoringBegunOtherwise, match=f"begun with {what} .*remove that folder"):
        score_folder(scorer_in(tmp_path, **other), pictures, out, chunk=chunk)
    # Refused, not spoilt.
    assert score_folder(scorer_in(tmp_path), pictures, out, chunk=CHUNK).done == COUNT


def test_a_finished_file_is_neither_made_twice_nor_overwritten(tmp_path: Path, pictures: Path) -> None:
    out = tmp_path / "out.parquet"
    score_folder(scorer_in(tmp_path), pictures, out, chunk=CHUNK)
    before = out.stat().st_mtime_ns
    assert score_folder(scorer_in(tmp_path), pictures, out, chunk=CHUNK) == ScoringProgress(
        files=COUNT, done=COUNT, failed=1
    )
    with pytest.raises(OutputTaken, match="remove it or name another"):
        score_folder(scorer_in(tmp_path, version=7), pictures, out, chunk=CHUNK)
    assert out.stat().st_mtime_ns == before
    foreign = tmp_path / "notes.parquet"
    foreign.write_text("mine")
    with pytest.raises(OutputTaken):
        score_folder(scorer_in(tmp_path), pictures, foreign, chunk=CHUNK)
    assert foreign.read_text() == "mine"
    assert not list(tmp_path.glob("*.parts"))


def test_two_runs_do_not_write_one_file(tmp_path: Path, pictures: Path) -> None:
    out = begun(tmp_path, pictures)
    with (tmp_path / "out.parquet.parts" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ScoringRefused, match="written by another run"):
            score_folder(scorer_in(tmp_path), pictures, out, chunk=CHUNK)


def test_nothing_to_score_or_nowhere_to_write_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    scorer = scorer_in(tmp_path)
    (tmp_path / "empty").mkdir()
    for folder, out, message in (
        ("empty", "out.parquet", "holds no file"),
        ("nowhere", "out.parquet", "nowhere: No such file"),
        ("empty", "nowhere/out.parquet", "nowhere/out.parquet.parts: No such file"),
    ):
        with pytest.raises(ScoringRefused, match=message) as caught:
            score_folder(scorer, tmp_path / folder, tmp_path / out)
        assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "model-1"]


PROGRAM = """
import sys
from pathlib import Path
from serving.inference.admission import admit
from serving.score.scorer import score_folder
from serving.score.scorer import Scorer
from serving.settings import Settings
model, pictures, out = map(Path, sys.argv[1:])
scorer = Scorer.configured(Settings(), admit(model, threads=1, max_batch=16), faces="none")
score_folder(scorer, pictures, out, chunk=4)
"""


def test_killed_again_and_again_it_comes_to_the_same_file(tmp_path: Path) -> None:
    pictures = pictures_in(tmp_path / "pictures", 800)
    scorer_in(tmp_path)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "model-1"), str(pictures)]
    parts = tmp_path / "out.parquet.parts"

    def written() -> int:
        return len(list(parts.glob("0*.parquet")))

    for wanted in (1, 40, 90):
        with subprocess.Popen([*command, str(tmp_path / "out.parquet")], cwd=REPOSITORY) as process:
            deadline = time.monotonic() + PATIENCE_S
            while process.poll() is None and written() < wanted:
                assert time.monotonic() < deadline
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        assert written() >= wanted
    for name in ("out.parquet", "unbroken.parquet"):
        subprocess.run([*command, str(tmp_path / name)], cwd=REPOSITORY, check=True, timeout=PATIENCE_S)
    resumed, unbroken = (tmp_path / name for name in ("out.parquet", "unbroken.parquet"))
    assert resumed.read_bytes() == unbroken.read_bytes()
