"""A project of flat pictures, whose brightness is their class, for what judges models on corrupted ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

from pipelines.core import paths
from pipelines.core.records import write_record
from tests.support.onnx_models import CLASSES, brightness_levels, make_contract, write_model
from tests.support.originals import write_originals, write_prepared
from tests.support.results import comparison, training

REPOSITORY = Path(__file__).parents[2]
PER_CLASS, MISLEADING = 10, 2
SEED = 20


def run(root: Path, module: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a module of the repository in a project."""
    return subprocess.run(
        [sys.executable, "-m", module, *options],
        cwd=root,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )


def evaluated_project(root: Path) -> Path:
    """Make an evaluated network, selected, and its int8 variant; only misleading pictures deceive them."""
    dataset = write_prepared(root, write_originals(root, per_class=PER_CLASS, misleading=MISLEADING))
    for name in ("lenet", "lenet-int8"):
        contract = make_contract(dataset=dataset.dataset, architecture=name)
        write_model(root / paths.onnx_model(name), contract=contract, levels=brightness_levels(len(CLASSES)))
    write_record(root / paths.training_record("lenet"), training(dataset))
    write_record(root / paths.COMPARISON, comparison("lenet"))
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    params |= {"architectures": ["lenet"], "seed": SEED}
    (root / paths.PARAMS).write_text(yaml.safe_dump(params))
    done = run(root, "pipelines.evaluate", "lenet")
    assert done.returncode == 0, done.stderr
    return root
