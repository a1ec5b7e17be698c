"""Whole pictures against crops: bright faces on a black ground, and a model that names the brightness."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from pipelines.core.errors import DataError
from pipelines.evaluate.crops import compare_crops
from pipelines.metrics import BasicScores
from pipelines.model.predict import open_model
from serving.contract import InputSpec
from tests.support.onnx_models import make_contract, write_model
from tests.support.pictures import drawn_face

CLASSES = ("bright", "dark")
SIDE, FACE_SIDE = 240, 120


@pytest.fixture
def rows(tmp_path: Path) -> pd.DataFrame:
    """Two pictures with a face (as a crop bright, as a whole dark) and one without; all labelled bright."""
    ground = np.zeros((SIDE, SIDE, 3), np.uint8)
    start = (SIDE - FACE_SIDE) // 2
    ground[start : start + FACE_SIDE, start : start + FACE_SIDE] = drawn_face(FACE_SIDE)
    empty = np.full((SIDE, SIDE, 3), 200, np.uint8)
    for name, image in (("a.png", ground), ("b.png", cv2.flip(ground, 1)), ("c.png", empty)):
        assert cv2.imwrite(str(tmp_path / name), image)
    return pd.DataFrame({"source": ["a.png", "b.png", "c.png"], "label": "bright"})


def _model(path: Path, spec: InputSpec) -> Path:
    # The drawn face is far above 0.3 on average and a quarter of the picture, so the whole is below it.
    return write_model(path, contract=make_contract(classes=CLASSES, spec=spec), levels=(0.5, 0.1))


def test_both_ways_are_scored_on_the_pictures_with_a_face(tmp_path: Path, rows: pd.DataFrame) -> None:
    model = open_model(_model(tmp_path / "m.onnx", InputSpec(height=16, width=16)))
    [found] = compare_crops([model], rows, tmp_path, detector="haar", margin=0.0)
    assert (found.images, found.found, found.detector, found.margin) == (3, 2, "haar", 0.0)
    assert found.whole == BasicScores(images=2, accuracy=0.0, macro_f1=0.0)
    assert (found.face.images, found.face.accuracy) == (2, 1.0)


def test_the_margin_is_the_callers_for_a_model_of_whole_pictures(tmp_path: Path, rows: pd.DataFrame) -> None:
    model = open_model(_model(tmp_path / "m.onnx", InputSpec(height=16, width=16)))
    [wide] = compare_crops([model], rows, tmp_path, detector="haar", margin=1.0)
    assert wide.face.accuracy == 0.0  # three times the box reaches far into the black ground


def test_a_model_of_crops_brings_its_own_margin(tmp_path: Path, rows: pd.DataFrame) -> None:
    spec = InputSpec(height=16, width=16, crop="face", detector="haar", margin=0.25)
    model = open_model(_model(tmp_path / "m.onnx", spec))
    assert compare_crops([model], rows, tmp_path, detector="yunet", margin=1.0)[0].margin == 0.25


def test_without_any_face_nothing_is_scored(tmp_path: Path, rows: pd.DataFrame) -> None:
    model = open_model(_model(tmp_path / "m.onnx", InputSpec(height=16, width=16)))
    [found] = compare_crops([model], rows.iloc[2:], tmp_path, detector="haar", margin=0.0)
    nothing = BasicScores(images=0, accuracy=None, macro_f1=None)
    assert (found.found, found.whole, found.face) == (0, nothing, nothing)


def test_a_detector_that_is_not_there_is_said(
    tmp_path: Path, rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MIEN_FACE_MODEL", raising=False)
    model = open_model(_model(tmp_path / "m.onnx", InputSpec(height=16, width=16)))
    with pytest.raises(DataError, match="MIEN_FACE_MODEL"):
        compare_crops([model], rows, tmp_path, detector="yunet", margin=0.0)
