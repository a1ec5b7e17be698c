"""A finished pipeline in a folder, as `register` finds it: flat pictures, tiny ONNX models, their results.

A picture's brightness is its class, so a model with the right levels is always right, and one with two levels
exchanged confuses exactly these two classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml
from PIL import Image

from pipelines.core import paths
from pipelines.core.dataset import Dataset, read_dataset, write_dataset
from pipelines.core.io import sha256_of, write_text
from pipelines.core.manifest import SCHEMA, digest, write_manifest
from pipelines.core.model_results import Export, FloatModel
from pipelines.core.params import Params, parse_params
from pipelines.core.records import write_record
from pipelines.core.results import Latencies
from pipelines.core.variants import all_variants, is_int8, variants_of
from pipelines.gate.record import GateVerdict, read_verdict
from pipelines.gate.stage import judge_selected
from pipelines.register.stage import register
from serving.contract import InputSpec
from tests.support.gate_scores import NO_THRESHOLDS
from tests.support.onnx_models import brightness_levels, make_contract, write_model
from tests.support.results import comparison, evaluation, export, training
from tests.support.timings import TIMING, times

CLASSES = ("angry", "happy", "sad")
SIDE = 16
PER_CLASS = 8
RIGHT = brightness_levels(len(CLASSES))


@dataclass(frozen=True)
class World:
    """One checkout's results."""

    root: Path
    dataset: str
    side: int
    classes: tuple[str, ...] = CLASSES

    def params(self, **gate: float | str | None) -> Params:
        """The repository's parameters with these of the gate, and no other thresholds."""
        values = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())
        values["gate"] |= NO_THRESHOLDS | gate
        values["architectures"] = self.architectures()
        return parse_params(values)

    def architectures(self) -> list[str]:
        found = (path.parent.name for path in (self.root / paths.ONNX).glob("*/model.onnx"))
        return sorted(name for name in found if not is_int8(name))

    def add_model(
        self,
        architecture: str,
        *,
        levels: Sequence[float] = RIGHT,
        seed: int = 0,
    ) -> str:
        """Put a trained, exported, evaluated model where its stages would, and select it; its sha256.

        Its int8 variant is the same graph under its own name.
        """
        root = self.root
        for name in variants_of(architecture):
            contract = make_contract(
                classes=self.classes, side=self.side, architecture=name, dataset=self.dataset
            )
            onnx = write_model(root / paths.onnx_model(name), contract=contract, levels=levels, seed=seed)
            twin = root / paths.onnx_model(architecture) if is_int8(name) else None
            write_record(root / paths.export_record(name), _export(onnx, twin=twin))
            write_record(
                root / paths.evaluation_metrics(name),
                evaluation(name, classes=dict.fromkeys(self.classes, 0.9)),
            )
        weights = root / paths.trained_weights(architecture)
        weights.parent.mkdir(parents=True, exist_ok=True)
        weights.write_bytes(f"{architecture} {seed} {levels}".encode())
        write_text(root / paths.training_history(architecture), _HISTORY)
        dataset = read_dataset(root / paths.DATASET)
        write_record(root / paths.training_record(architecture), training(dataset, architecture=architecture))
        self.select(architecture)
        return sha256_of(root / paths.onnx_model(architecture))

    def select(self, name: str) -> None:
        """Write the comparison and latency tables with this variant on top."""
        write_record(self.root / paths.COMPARISON, comparison(name))
        models = dict.fromkeys(all_variants(self.architectures()), times(2.5))
        write_record(self.root / paths.LATENCY, Latencies(timing=TIMING, threads=1, rounds=3, models=models))


def judge_and_register(world: World, params: Params, *, experiment: str | None = None) -> GateVerdict:
    """Run the stages `gate` and `register` in the current folder; returns the verdict."""
    judge_selected(Path(), params, experiment=experiment)
    register(Path(), params, experiment=experiment)
    return read_verdict(world.root / paths.GATE)


def make_world(root: Path, *, side: int = SIDE, classes: tuple[str, ...] = CLASSES) -> World:
    """Pictures, prepared pictures of this side, manifest and dataset of three classes, without any model."""
    spec = InputSpec(height=side, width=side)
    rows = []
    for split, count in (("val", 2), ("test", PER_CLASS)):
        for label, level in zip(classes, RIGHT, strict=True):
            for index in range(count):
                rows.append(
                    _picture(
                        root, split, label, side=side, value=round(level * 255) + index % 3 - 1, index=index
                    )
                )
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    write_manifest(root / paths.MANIFEST, table)
    dataset = digest(table, spec)
    write_dataset(root / paths.DATASET, Dataset(classes=classes, input=spec, dataset=dataset))
    return World(root=root, dataset=dataset, side=side, classes=classes)


def _picture(root: Path, split: str, label: str, *, side: int, value: int, index: int) -> dict[str, Any]:
    name = f"id{index:03d}_{label}_{split}.png"
    source, prepared = Path("data") / label / name, Path("images") / split / label / name
    for path, px in ((root / source, 2 * SIDE), (root / paths.PREPARED / prepared, side)):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((px, px, 3), value, np.uint8)).save(path)
    return {
        "path": prepared.as_posix(), "split": split, "label": label, "group": f"{split}-id{index:03d}",
        "width": 2 * SIDE, "height": 2 * SIDE, "mode": "RGB", "bytes": 100,
        "pixel_sha256": f"{value:064x}", "perceptual_hash": "0" * 16, "brightness": value / 255,
        "contrast": 0.0, "sharpness": 0.0, "exif_orientation": 1, "source": source.as_posix(),
    }  # fmt: skip


_HISTORY = """epoch,phase,learning_rate,loss,accuracy,val_loss,val_accuracy,val_macro_f1
0,train,0.001,1.9,0.3,1.8,0.35,0.3
1,train,0.0005,1.2,0.6,1.1,0.65,0.6
"""


def _export(onnx: Path, *, twin: Path | None) -> Export:
    record = export(onnx.parent.name, sha256=sha256_of(onnx), size_bytes=onnx.stat().st_size, temperature=1.0)
    if twin is None:
        return record
    size_bytes = twin.stat().st_size
    float_model = FloatModel(sha256=sha256_of(twin), size_bytes=size_bytes, pictures=6, same_answer=1.0)
    return replace(record, twin=float_model)
