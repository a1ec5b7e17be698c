"""Where YuNet's file comes from, what is refused, and what the stage `weights` leaves in its output.

The official file is not in the repository: a stand-in with a digest of its own takes its place.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.core.io import sha256_of
from pipelines.core.model_results import Origin
from pipelines.core.params import WeightsParams
from pipelines.core.records import read_record
from pipelines.weights import face_model, stage
from pipelines.weights.face_model import LICENSE_FILE, FaceModelUnavailable, download_face_model
from serving.contract.faces import YUNET_FILE, YUNET_SHA256
from tests.support.weight_files import serving
from tests.support.yunet import write_blind_yunet

REPOSITORY = Path(__file__).parents[3]
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:8f23\nsize 232589\n"
WANTED = WeightsParams(source="drawn", offline="scratch", timeout_s=2.0)


@pytest.fixture
def official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Bytes that count as the official file."""
    file = write_blind_yunet(tmp_path / "official.onnx")
    monkeypatch.setattr(face_model, "YUNET_SHA256", sha256_of(file))
    return file.read_bytes()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty user's cache; nothing is configured, and the hub is a port that does not answer."""
    proxies = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
    for name in ("MIEN_FACE_MODEL", "MIEN_WEIGHTS_DIR", *proxies):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    return tmp_path / "cache" / "mien" / YUNET_FILE


def origin(folder: Path) -> Origin:
    return read_record(folder / "origin.json", Origin, stage="weights")


def publish(folder: Path, data: bytes) -> Path:
    """A hub's folder with the file at the path that the pinned revision has."""
    path = folder / "opencv/face_detection_yunet/resolve" / face_model.REVISION / YUNET_FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    return folder


def test_it_is_downloaded_once_for_all_projects(
    official: bytes, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(publish(tmp_path / "hub", official)) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        stage.resolve_face_model(WANTED, folder=tmp_path / "first")
    assert cache.read_bytes() == official
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    stage.resolve_face_model(WANTED, folder=tmp_path / "second")
    for folder in ("first", "second"):
        assert (tmp_path / folder / YUNET_FILE).read_bytes() == official
    origins = [origin(tmp_path / folder) for folder in ("first", "second")]
    assert origins[0] == origins[1]
    assert origins[0].file == YUNET_FILE


@pytest.mark.parametrize(
    ("wrong", "named"),
    [(POINTER, "pointer of Git LFS"), (b"\0" * 1_000_001, "more than"), (b"else", "sha256")],
    ids=["pointer", "too large", "other file"],
)
def test_an_address_with_something_else_is_named_and_the_next_one_is_tried(
    official: bytes, cache: Path, tmp_path: Path, wrong: bytes, named: str
) -> None:
    (tmp_path / "wrong").write_bytes(wrong)
    with serving(tmp_path) as address:
        urls = [f"{address}/wrong", f"{address}/none", f"{address}/official.onnx"]
        assert download_face_model(urls, timeout_s=5) == cache
        with pytest.raises(FaceModelUnavailable) as caught:
            download_face_model(urls[:2], timeout_s=5)
    assert cache.read_bytes() == official
    first, second = str(caught.value).split("; ")
    assert named in first
    assert "404" in second


@pytest.mark.parametrize("variable", ["MIEN_FACE_MODEL", "MIEN_WEIGHTS_DIR"])
def test_a_file_of_ones_own_is_taken_before_the_network(
    official: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    (tmp_path / YUNET_FILE).write_bytes(official)
    monkeypatch.setenv(variable, str(tmp_path if variable == "MIEN_WEIGHTS_DIR" else tmp_path / YUNET_FILE))
    stage.resolve_face_model(WANTED, folder=tmp_path / "out")
    assert (tmp_path / "out" / YUNET_FILE).read_bytes() == official


def test_a_foreign_file_is_passed_over_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = write_blind_yunet(tmp_path / "foreign.onnx")
    monkeypatch.setenv("MIEN_FACE_MODEL", str(foreign))
    stage.resolve_face_model(WANTED, folder=tmp_path / "out")
    assert origin(tmp_path / "out").file is None
    said = capsys.readouterr().out
    assert sha256_of(foreign) in said
    assert YUNET_SHA256 in said


def test_without_a_network_the_output_is_the_same_every_time(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    stage.resolve_face_model(WANTED, folder=folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    inode = folder.stat().st_ino
    stage.resolve_face_model(WANTED, folder=folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert folder.stat().st_ino == inode, "the folder was replaced although nothing changed"


def test_a_file_that_is_there_stays_without_a_network(official: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / YUNET_FILE).write_bytes(official)
    stage.resolve_face_model(WANTED, folder=folder)
    assert (folder / YUNET_FILE).read_bytes() == official


def test_not_wanted_it_is_not_looked_for(official: bytes, cache: Path, tmp_path: Path) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_bytes(official)
    stage.resolve_face_model(WANTED.model_copy(update={"face_detector": "none"}), folder=tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["origin.json"]


def test_the_image_builds_script_succeeds_without_a_network_and_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "pipelines/weights/face_model.py"), str(tmp_path / "out")],
        # Only what the image has: the service's package.
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "https_proxy": "http://127.0.0.1:9"},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "out").iterdir()) == []
    assert "WITHOUT YuNet" in done.stdout
    assert "media.githubusercontent.com" in done.stdout


def test_the_script_imports_no_other_stage() -> None:
    code = """
import runpy, sys
runpy.run_path(sys.argv[1])
print([name for name in sys.modules if name.startswith("pipelines")])
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(REPOSITORY / "pipelines/weights/face_model.py")],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


def test_the_licence_goes_with_the_file(official: bytes, tmp_path: Path) -> None:
    face_model.copy_face_model(tmp_path / "official.onnx", tmp_path / "out")
    assert (tmp_path / "out" / YUNET_FILE).read_bytes() == official
    assert "Copyright (c) 2020 Shiqi Yu" in (tmp_path / "out" / LICENSE_FILE).read_text()
