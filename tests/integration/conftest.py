"""What takes long to make and several test files read."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from pipelines.core.params import ExportParams, known_architectures


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A root with `prepared/`, `models/` and `onnx/` of every architecture; not to be changed.

    The processes of a run share it: exporting takes a minute, and the bytes do not depend on the process.
    """
    if worker_id == "master":
        return _export_all(tmp_path_factory.mktemp("exported"))
    root = tmp_path_factory.getbasetemp().parent / "exported"
    with root.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            _export_all(root.with_suffix(".new")).rename(root)
    return root


def _export_all(root: Path) -> Path:
    # Not above: other tests of this folder need no TensorFlow.
    from pipelines.core.dataset import write_dataset
    from pipelines.export.stage import export_model
    from tests.support.networks import lively, small_classifier, write_trained

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
