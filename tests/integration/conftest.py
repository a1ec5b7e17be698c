"""What takes long to make and several test files read."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.core.params import ExportParams, known_architectures


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with `prepared/`, `models/` and `onnx/` of every architecture; not to be changed."""
    # Not above: other tests of this folder need no TensorFlow.
    from pipelines.core.dataset import write_dataset
    from pipelines.export.stage import export_model
    from tests.support.networks import lively, small_classifier, write_trained

    root = tmp_path_factory.mktemp("exported")
    for name in known_architectures():
        dataset = write_trained(root, lively(small_classifier(name)))
        write_dataset(root / "prepared/dataset.json", dataset)
        export_model(
            record=root / "models" / name / "training.json",
            weights=root / "models" / name / "model.weights.h5",
            manifest=root / "prepared/manifest.parquet",
            folder=root / "onnx" / name,
            params=ExportParams(opset=18, tolerance=1e-4),
        )
    return root
