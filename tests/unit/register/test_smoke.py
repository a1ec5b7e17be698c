"""The smoke test describes the problem of a file in one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipelines.gate.evaluation import smoke_test
from tests.support.onnx_models import make_contract, write_model

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)


def test_good_file_passes(tmp_path: Path) -> None:
    assert smoke_test(write_model(tmp_path / "model.onnx"), IMAGES) is None


def test_truncated_file_does_not_load(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.onnx")
    path.write_bytes(path.read_bytes()[:100])
    assert (smoke_test(path, IMAGES) or "").startswith("the file does not load")


def test_file_without_contract_does_not_load(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.onnx", metadata=None)
    assert "no contract" in (smoke_test(path, IMAGES) or "")


def test_pictures_of_another_size_are_reported(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.onnx", contract=make_contract(side=32))
    assert (smoke_test(path, IMAGES) or "").startswith("the file loads but prediction fails")
