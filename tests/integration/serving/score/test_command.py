"""`python -m serving.score` as an operator runs it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from docs.example_clip import ACTORS, draw_frames, write_clip
from serving.score.__main__ import main
from serving.score.video.clip import Clip
from serving.score.video.timeline import Timeline
from tests.support.mlflow_store import new_store
from tests.support.onnx_models import CLASSES
from tests.support.scoring import pictures_in
from tests.support.serving_models import FilledRegistry, model_folder

REPOSITORY = Path(__file__).parents[4]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    model_folder(tmp_path / "model")
    pictures_in(tmp_path / "pictures", 20)
    monkeypatch.setenv("MIEN_MODEL", "model")
    return tmp_path


def scored(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["score", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_it_takes_the_services_model_and_tells_by_its_exit_status(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scored(monkeypatch, "pictures", "--out", "a.parquet", "--faces", "none") == 0
    assert capsys.readouterr().out.startswith("a.parquet: 20 files, by version local of model, ")
    (place / "pictures" / "bad.png").write_bytes(b"bad")
    assert scored(monkeypatch, "pictures", "--out", "b.parquet", "--faces", "none") == 3
    assert "21 files, 1 of them with a problem" in capsys.readouterr().out
    assert pq.read_table("a.parquet")["emotion"][3].as_py() == CLASSES[3]


def test_an_empty_name_is_wrong_usage(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["", "--out", "a.parquet"], ["pictures", "--out", ""]):
        assert scored(monkeypatch, *arguments) == 2
        assert "the name is empty" in capsys.readouterr().err
    assert not (place / "a.parquet").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pictures", "--model", "runs:/1/model"], "expected models:/"),
        (["pictures", "--model", "elsewhere.onnx"], "copy one there"),
        (["pictures", "--model", "models:/emotion@production"], "there is no registry"),
        (["nowhere"], "nowhere: No such file"),
        (["pictures/00000.png"], "no video stream"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    assert scored(monkeypatch, *arguments, "--out", "a.parquet") == 1
    printed = capsys.readouterr().err.splitlines()
    assert len(printed) == 1
    assert message in printed[0]
    assert not (place / "a.parquet").exists()


def test_a_promoted_version_is_fetched_and_kept_for_when_the_registry_is_away(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = FilledRegistry(new_store(place), place / "artifacts")
    registry.promote(registry.add())
    monkeypatch.setenv("MIEN_TRACKING_URI", registry.uri)
    uri = ["--model", "models:/emotion@production", "--faces", "none"]
    assert scored(monkeypatch, "pictures", "--out", "a.parquet", *uri) == 0
    Path(registry.uri.removeprefix("sqlite:///")).rename(place / "away.db")
    assert scored(monkeypatch, "pictures", "--out", "b.parquet", *uri) == 0
    printed = capsys.readouterr()
    assert "by version 1 of emotion" in printed.out
    assert "there is no registry" in printed.err
    assert "version 1, fetched before, is used" in printed.err
    assert pq.read_table("a.parquet").equals(pq.read_table("b.parquet"))


def clip_in(folder: Path) -> Path:
    """Two people for a second and a half."""
    return write_clip(folder / "clip.avi", draw_frames(ACTORS, 1.5, rate=10), rate=10, codec="MJPG")


def test_a_video_gets_a_timeline(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clip_in(place)
    assert scored(monkeypatch, "clip.avi", "--out", "a.parquet", "--every", "3", "--smoothing", "0") == 0
    assert capsys.readouterr().out.startswith(
        "a.parquet: 5 of 15 frames, 2 tracks, by version local of model, "
    )
    timeline = Timeline(Path("a.parquet"))
    assert timeline.facts.time_constant_s == 0
    assert {face.frame for face in timeline.faces()} == {0, 3, 6, 9, 12}
    # About five per second.
    assert scored(monkeypatch, "clip.avi", "--out", "b.parquet") == 0
    assert Timeline(Path("b.parquet")).facts.every == 2


def test_a_page_and_a_video_come_with_it_also_of_a_finished_table(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip_in(place)
    assert scored(monkeypatch, "clip.avi", "--out", "a.parquet") == 0
    before = Path("a.parquet").stat().st_mtime_ns
    more = ["--html", "a.html", "--annotated", "a.webm"]
    assert scored(monkeypatch, "clip.avi", "--out", "a.parquet", *more) == 0
    assert Path("a.parquet").stat().st_mtime_ns == before
    assert 'src="a.webm"' in Path("a.html").read_text(encoding="utf-8")
    assert Clip.open(Path("a.webm"), max_pixels=10**6).frames == 15


@pytest.mark.parametrize("option", ["--out", "--html", "--annotated"])
def test_the_video_is_never_overwritten(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    Path("clip.webm").write_bytes(clip_in(place).read_bytes())
    before = Path("clip.webm").read_bytes()
    out = [] if option == "--out" else ["--out", "a.parquet"]
    assert scored(monkeypatch, "clip.webm", *out, option, "../" + place.name + "/clip.webm") == 2
    assert "the same file" in capsys.readouterr().err
    assert Path("clip.webm").read_bytes() == before


def test_a_video_that_could_not_be_written_is_refused_before_anything_is_scored(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clip_in(place)
    assert scored(monkeypatch, "clip.avi", "--out", "a.parquet", "--annotated", "a.mp4") == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not Path("a.parquet").exists()


def test_of_a_cut_video_the_rest_is_scored_and_the_status_says_so(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = clip_in(place)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert scored(monkeypatch, "clip.avi", "--out", "a.parquet") == 3
    printed = capsys.readouterr()
    assert "2 tracks" in printed.out
    assert len(printed.err.splitlines()) == 1
    assert Timeline(Path("a.parquet")).facts.missing_s == pytest.approx(0.7, abs=0.15)


@pytest.mark.parametrize(
    "arguments",
    [
        ["clip.avi", "--faces", "none"],
        ["pictures", "--every", "2"],
        ["pictures", "--smoothing", "1"],
        ["clip.avi", "--every", "0"],
        ["clip.avi", "--smoothing", "-1"],
        ["clip.avi", "--smoothing", "nan"],
    ],
    ids=" ".join,
)
def test_an_option_of_the_other_kind_or_out_of_range_is_wrong_usage(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    (place / "clip.avi").write_bytes(b"any file")
    assert scored(monkeypatch, *arguments, "--out", "a.parquet") == 2
    assert arguments[1] in capsys.readouterr().err
    assert not (place / "a.parquet").exists()


@pytest.mark.parametrize("terminal", [True, False])
def test_the_bar_is_for_terminals_only(place: Path, terminal: bool) -> None:
    shown, end = pty.openpty()
    command = [sys.executable, "-m", "serving.score", "pictures", "--out", "a.parquet"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "TERM": "xterm", "COLUMNS": "100"}
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=end if terminal else subprocess.PIPE,
        text=True, timeout=120, check=True,
    )  # fmt: skip
    os.close(end)
    if terminal:
        assert b"20/20" in os.read(shown, 1 << 16)
    else:
        assert done.stderr == ""
    os.close(shown)
    assert done.stdout.count("\n") == 1
