"""A folder in which `python -m pipelines.train` can run: parameters, prepared pictures, weights."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from pipelines.core.model_results import Origin
from pipelines.core.params import HeadParams, ModelParams
from pipelines.core.records import write_record
from pipelines.model.keras_classifier import Classifier, build_classifier
from pipelines.train.input import Split, read_split
from serving.contract import InputSpec
from tests.support.prepared import CLASSES, write_prepared

REPOSITORY = Path(__file__).resolve().parents[2]
FAST: dict[str, Any] = {
    "seed": 3,
    "architectures": ["lenet"],
    "training.batch_size": 16,
    "training.warmup_epochs": 1,
    "training.early_stopping.patience": 50,
    "head.hidden": [16],
    "models.lenet.epochs": 4,
}
"""Settings under which LeNet learns the test's pictures in about a second per run."""


def make_project(root: Path, **changes: Any) -> Path:
    """Write a project for LeNet; `changes` are dotted parameters with `__` for the dots."""
    root.mkdir(parents=True)
    write_prepared(root / "prepared")
    set_params(root, **changes)
    from_scratch(root, "lenet")
    return root


def set_params(root: Path, **changes: Any) -> None:
    """Write `params.yaml`: the committed ones, made fast, then changed."""
    data = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    for key, value in (FAST | {key.replace("__", "."): value for key, value in changes.items()}).items():
        *parents, last = key.split(".")
        block = data
        for name in parents:
            block = block[name]
        block[last] = value
    (root / "params.yaml").write_text(yaml.safe_dump(data))


def from_scratch(root: Path, name: str) -> None:
    """What the `weights` stage writes for a network without pretrained weights."""
    origin = Origin(origin="scratch", reason="not pretrained", file=None)
    write_record(root / "weights" / name / "origin.json", origin)


def start_stage(
    root: Path, *arguments: str, module: str = "pipelines.train", **environment: str
) -> subprocess.Popen[str]:
    """Start `python -m pipelines.train …`, or another module, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Who starts the tests may ignore Ctrl-C, as a shell does for what runs in the background.
        preexec_fn=_heed_interrupts,
    )


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run_stage(root: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """Run the stage to its end; exit status, standard output, standard error."""
    with start_stage(root, *arguments, **environment) as process:
        out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def small_network(head: HeadParams | None = None, *, name: str = "lenet", side: int = 16) -> Classifier:
    """A network of the registry for the test's three classes, untrained."""
    return build_classifier(
        name,
        ModelParams(epochs=1, learning_rate=1e-3),
        head=head or HeadParams(hidden=[8], dropout=0.5),
        height=side,
        width=side,
        classes=len(CLASSES),
    )


def read_pictures(root: Path, split: str, *, cache_mib: int = 64) -> Split:
    """One split of a project's prepared pictures, cached as `cache_mib` allows."""
    return read_split(
        root / "prepared" / "images" / split,
        InputSpec(height=16, width=16),
        classes=CLASSES,
        cache_mib=cache_mib,
        cache=root / "cache" / f"{split}.npy",
    )
