"""What a model is evaluated on is, pixel for pixel, what `prepare` wrote for it to train on."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from pipelines.core.errors import DataError
from pipelines.core.source_images import read_image
from pipelines.model.predict import InputReader, open_model, predict_sources
from pipelines.prepare.images import Facts, Preparer, Settings, Task
from pipelines.prepare.listing import find_sources
from sample_faces.dataset import SampleSpec, write_sample
from serving.contract import InputSpec, preprocess
from tests.support.onnx_models import make_contract, write_model

SPECS = {
    "whole": InputSpec(height=32, width=32),
    "gray": InputSpec(height=48, width=48, color="gray", resize="cubic"),
    "enlarged": InputSpec(height=128, width=128),
    "face": InputSpec(height=32, width=32, crop="face", detector="haar", margin=0.25),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    # Portraits: the detector finds most of them, and few faces that fill the picture.
    spec = SampleSpec(per_class=2, seed=1, size_px=96, framing="portrait", low_light=0.0)
    write_sample(spec, folder / "data", processes=1)
    return folder


@pytest.mark.parametrize("name", SPECS)
def test_originals_become_the_prepared_pictures(root: Path, tmp_path: Path, name: str) -> None:
    read = InputReader(root, SPECS[name])
    prepare = Preparer(Settings(root=root, folder=tmp_path, spec=SPECS[name]))
    compared = 0
    for source in find_sources(root / "data", root=root).sources:
        if isinstance(prepare(Task(source.locator, "prepared.png")), Facts):
            prepared = cv2.imread(str(tmp_path / "prepared.png"), cv2.IMREAD_COLOR_RGB)
            assert prepared is not None
            assert np.array_equal(read(source.locator), prepared), source.locator
            compared += 1
    assert compared >= 7


def test_a_face_model_crops_in_every_thread(root: Path, tmp_path: Path) -> None:
    contract = make_contract(spec=SPECS["face"])
    classifier = open_model(write_model(tmp_path / "model.onnx", contract=contract))
    locators = [source.locator for source in find_sources(root / "data", root=root).sources] * 8
    several = predict_sources(classifier, locators, root, workers=4)
    read = InputReader(root, SPECS["face"])
    alone = classifier.predict(np.stack([read(locator) for locator in locators]))
    assert np.array_equal(several.embedding, alone.embedding)


def test_a_picture_without_a_face_is_taken_whole(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((60, 80, 3), 90, np.uint8))
    found = InputReader(tmp_path, SPECS["face"])("wall.png")
    assert np.array_equal(found, preprocess(read_image("wall.png", tmp_path), SPECS["face"]))


def test_a_detector_without_its_model_file_is_one_line(tmp_path: Path) -> None:
    spec = InputSpec(height=32, width=32, crop="face", detector="yunet")
    with pytest.raises(DataError, match="set MIEN_FACE_MODEL") as caught:
        InputReader(tmp_path, spec)
    assert "\n" not in str(caught.value)
