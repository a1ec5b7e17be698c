"""Corrupted pictures are answered as if the service had been sent them like that, by the contract."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.core.errors import DataError
from pipelines.core.source_images import read_image
from pipelines.model.predict import open_model, predict_sources
from pipelines.robustness.corruptions import CORRUPTIONS, SEVERITIES
from pipelines.robustness.pictures import predict_corrupted
from serving.contract import InputSpec
from tests.support.onnx_models import CLASSES, make_contract, write_model
from tests.support.pictures import drawn_face, textured, write_picture

SPECS = {
    "whole": InputSpec(height=16, width=24),
    "gray": InputSpec(height=16, width=16, color="gray", resize="linear"),
    "face": InputSpec(height=16, width=16, crop="face", detector="haar", margin=0.1),
}


@pytest.fixture
def sources(tmp_path: Path) -> list[str]:
    """Nine pictures, one more than are in memory at a time; the last one has a face on a black ground."""
    names = [f"{index}.png" for index in range(9)]
    for index, name in enumerate(names[:-1]):
        write_picture(tmp_path / name, textured(index))
    ground = np.zeros((200, 240, 3), np.uint8)
    ground[40:160, 60:180] = drawn_face(120)
    write_picture(tmp_path / names[-1], ground)
    return names


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_answers_are_those_to_files_of_the_corrupted_pictures(
    tmp_path: Path, sources: list[str], spec: InputSpec
) -> None:
    path = write_model(tmp_path / "model.onnx", contract=make_contract(spec=spec), seed=3)
    classifier = open_model(path)
    found = predict_corrupted(classifier, sources, tmp_path, workers=2)
    assert found.shape == (len(sources), len(CORRUPTIONS), len(SEVERITIES), len(CLASSES))
    for place, (name, corrupt) in enumerate(CORRUPTIONS.items()):
        for severity in SEVERITIES:
            files = []
            for source in sources:
                files.append(f"{name} {severity} {source}")
                write_picture(tmp_path / files[-1], corrupt(read_image(source, tmp_path), severity))
            expected = predict_sources(classifier, files, tmp_path).probabilities
            np.testing.assert_allclose(found[:, place, severity - 1], expected, atol=2e-6)


def test_faces_are_looked_for_in_the_corrupted_picture(tmp_path: Path, sources: list[str]) -> None:
    """A covered or turned face gives another crop: with crops the answers differ from those to wholes."""
    answers = []
    for name in ("whole", "face"):
        spec = SPECS[name] if name == "face" else InputSpec(height=16, width=16)
        path = write_model(tmp_path / f"{name}.onnx", contract=make_contract(spec=spec), seed=3)
        answers.append(predict_corrupted(open_model(path), sources, tmp_path))
    assert np.abs(answers[0] - answers[1])[-1].max() > 0.01


def test_no_pictures_have_no_answers(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.onnx", contract=make_contract(spec=SPECS["whole"]))
    assert predict_corrupted(open_model(path), [], tmp_path).shape == (0, 8, 3, len(CLASSES))


def test_a_lost_original_is_one_line(tmp_path: Path, sources: list[str]) -> None:
    path = write_model(tmp_path / "model.onnx", contract=make_contract(spec=SPECS["whole"]))
    (tmp_path / sources[4]).unlink()
    with pytest.raises(DataError, match=rf"{sources[4]}.*dvc checkout"):
        predict_corrupted(open_model(path), sources, tmp_path)
