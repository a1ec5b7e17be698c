"""Which face detector a model gets, and what is said before it is put in."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from serving.contract import InputSpec
from serving.contract.faces import YUNET_FILE, YUNET_SHA256, HaarDetector, YuNetDetector
from serving.detection import detectors
from serving.detection.detectors import DetectorChoice, Detectors
from serving.errors import FaceDetectorError
from tests.support.onnx_models import haar_file, make_contract, make_full_contract
from tests.support.yunet import write_blind_yunet

WHOLE = InputSpec(height=16, width=16)
YUNET = InputSpec(height=16, width=16, crop="face", detector="yunet", margin=0.1)
HAAR = InputSpec(height=16, width=16, crop="face", detector="haar", margin=0.1)


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Readable, and not the official file."""
    return write_blind_yunet(tmp_path / "other.onnx")


def test_without_a_file_haar_is_enough_for_all_but_yunets_models() -> None:
    found = Detectors("auto", face_model=None)
    assert found.check(make_contract(spec=WHOLE)) == found.check(make_contract(spec=HAAR)) == ()
    with pytest.raises(FaceDetectorError, match="no model file is named"):
        found.check(make_contract(spec=YUNET))


@pytest.mark.parametrize("content", [None, b"", b"no network"], ids=["absent", "empty", "nonsense"])
def test_an_unusable_file_stops_yunets_models_and_is_a_warning_for_the_others(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "face.onnx"
    if content is not None:
        path.write_bytes(content)
    found = Detectors("auto", face_model=path)
    with pytest.raises(FaceDetectorError, match=r"face\.onnx"):
        found.check(make_contract(spec=YUNET))
    (warning,) = found.check(make_contract(spec=WHOLE))
    assert "face.onnx" in warning
    assert warning.endswith("only requests with faces=none are answered")


@pytest.fixture
def official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of model files with a YuNet file that counts as the official one."""
    folder = tmp_path / "version"
    folder.mkdir()
    file = write_blind_yunet(folder / YUNET_FILE)
    monkeypatch.setattr(detectors, "YUNET_SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    monkeypatch.setattr(detectors, "SHARED", tmp_path / "share" / YUNET_FILE)
    return folder


def made(cache: Path, choice: DetectorChoice = "auto", face_model: Path | None = None) -> Detectors:
    cache.mkdir(exist_ok=True)
    return Detectors(choice, face_model=face_model, cache_dir=cache)


@pytest.mark.parametrize("choice", ["auto", "yunet"])
def test_a_version_brings_yunet_to_every_process_with_this_cache(
    official: Path, tmp_path: Path, choice: DetectorChoice
) -> None:
    first, second = made(tmp_path / "cache", choice), made(tmp_path / "cache", choice)
    if choice == "auto":
        assert first.name(WHOLE) == "haar"
    assert first.check(make_contract(spec=WHOLE), official) == ()
    # Also after a rollback to a version without it, in another worker and after a restart.
    for seen in (first, second, made(tmp_path / "cache", choice)):
        assert seen.check(make_contract(spec=WHOLE), tmp_path) == ()
        assert (seen.name(WHOLE), seen.name(YUNET), seen.name(HAAR)) == ("yunet", "yunet", "haar")
        assert isinstance(seen.of(WHOLE), YuNetDetector)
        assert isinstance(seen.of(HAAR), HaarDetector)


def test_a_foreign_file_of_a_version_is_a_warning_and_not_used(
    official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detectors, "YUNET_SHA256", "0" * 64)
    seen = made(tmp_path / "cache")
    (warning,) = seen.check(make_contract(spec=WHOLE), official)
    assert YUNET_FILE in warning
    assert seen.name(WHOLE) == "haar"
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_configured_file_comes_before_the_versions(official: Path, foreign: Path, tmp_path: Path) -> None:
    seen = made(tmp_path / "cache", face_model=foreign)
    seen.check(make_contract(spec=WHOLE), official)
    assert seen.yunet_file == foreign
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_file_of_the_environment_is_found(official: Path, tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    shared = (official / YUNET_FILE).rename(tmp_path / "share" / YUNET_FILE)
    assert made(tmp_path / "cache").yunet_file == shared


def test_a_cache_that_cannot_be_written_is_a_warning(official: Path, tmp_path: Path) -> None:
    seen = Detectors("auto", face_model=None, cache_dir=tmp_path / "none")
    (warning,) = seen.check(make_contract(spec=WHOLE), official)
    assert str(tmp_path / "none") in warning
    assert isinstance(seen.of(WHOLE), HaarDetector)


def test_a_file_that_comes_later_is_used(tmp_path: Path) -> None:
    path = tmp_path / "face.onnx"
    found = Detectors("auto", face_model=path)
    assert found.check(make_contract(spec=WHOLE)) != ()
    write_blind_yunet(path)
    assert isinstance(found.of(WHOLE), YuNetDetector)


def test_a_foreign_file_is_a_warning_and_never_given_to_a_model_trained_with_the_official_one(
    foreign: Path,
) -> None:
    found = Detectors("auto", face_model=foreign)
    assert isinstance(found.of(WHOLE), YuNetDetector)
    assert isinstance(found.of(HAAR), HaarDetector)
    for spec in (WHOLE, HAAR):
        (warning,) = found.check(make_contract(spec=spec))
        assert hashlib.sha256(foreign.read_bytes()).hexdigest() in warning
        assert YUNET_SHA256 in warning
    with pytest.raises(FaceDetectorError, match=f"expected {YUNET_SHA256}"):
        found.check(make_contract(spec=YUNET))


def test_switched_off_it_is_said_what_a_model_of_crops_will_get() -> None:
    found = Detectors("none", face_model=None)
    assert found.check(make_contract(spec=WHOLE)) == ()
    (warning,) = found.check(make_contract(spec=YUNET))
    assert "it gets whole pictures" in warning


def test_a_model_whose_crops_were_calibrated_with_another_file_is_admitted_with_a_warning() -> None:
    found = Detectors("auto", face_model=None)
    assert found.check(make_full_contract()) == ()
    other = replace(haar_file(), sha256="ab" * 32)
    (warning,) = found.check(make_full_contract(detector=other))
    assert other.name in warning
    assert other.sha256[:12] in warning
    assert haar_file().sha256[:12] in warning
