"""Which face detector a model gets, and what is said before it is put in."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from serving.contract import InputSpec
from serving.contract.faces import YUNET_SHA256, HaarDetector, YuNetDetector
from serving.detection.image_reader import Detectors
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
    detectors = Detectors("auto", face_model=None)
    assert detectors.check(make_contract(spec=WHOLE)) == detectors.check(make_contract(spec=HAAR)) == ()
    with pytest.raises(FaceDetectorError, match="no model file is named"):
        detectors.check(make_contract(spec=YUNET))


@pytest.mark.parametrize("content", [None, b"", b"no network"], ids=["absent", "empty", "nonsense"])
def test_an_unusable_file_stops_yunets_models_and_is_a_warning_for_the_others(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "face.onnx"
    if content is not None:
        path.write_bytes(content)
    detectors = Detectors("auto", face_model=path)
    with pytest.raises(FaceDetectorError, match=r"face\.onnx"):
        detectors.check(make_contract(spec=YUNET))
    (warning,) = detectors.check(make_contract(spec=WHOLE))
    assert "face.onnx" in warning
    assert warning.endswith("only requests with faces=none are answered")


def test_a_file_that_comes_later_is_used(tmp_path: Path) -> None:
    path = tmp_path / "face.onnx"
    detectors = Detectors("auto", face_model=path)
    assert detectors.check(make_contract(spec=WHOLE)) != ()
    write_blind_yunet(path)
    assert isinstance(detectors.of(WHOLE), YuNetDetector)


def test_a_foreign_file_is_a_warning_and_never_given_to_a_model_trained_with_the_official_one(
    foreign: Path,
) -> None:
    detectors = Detectors("auto", face_model=foreign)
    assert isinstance(detectors.of(WHOLE), YuNetDetector)
    assert isinstance(detectors.of(HAAR), HaarDetector)
    for spec in (WHOLE, HAAR):
        (warning,) = detectors.check(make_contract(spec=spec))
        assert hashlib.sha256(foreign.read_bytes()).hexdigest() in warning
        assert YUNET_SHA256 in warning
    with pytest.raises(FaceDetectorError, match=f"expected {YUNET_SHA256}"):
        detectors.check(make_contract(spec=YUNET))


def test_switched_off_it_is_said_what_a_model_of_crops_will_get() -> None:
    detectors = Detectors("none", face_model=None)
    assert detectors.check(make_contract(spec=WHOLE)) == ()
    (warning,) = detectors.check(make_contract(spec=YUNET))
    assert "it gets whole pictures" in warning


def test_a_model_whose_crops_were_calibrated_with_another_file_is_admitted_with_a_warning() -> None:
    detectors = Detectors("auto", face_model=None)
    assert detectors.check(make_full_contract()) == ()
    other = replace(haar_file(), sha256="ab" * 32)
    (warning,) = detectors.check(make_full_contract(detector=other))
    assert other.name in warning
    assert other.sha256[:12] in warning
    assert haar_file().sha256[:12] in warning
