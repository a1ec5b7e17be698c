"""Every input of the report, as the stages write them: seven architectures, plausible numbers, drawn faces.

Nothing is trained. Answers are drawn so that one architecture is better than another; metrics are
computed from them by the pipeline's own code.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from pipelines.compare import losses
from pipelines.core import paths
from pipelines.core.io import read_json, write_json
from pipelines.core.manifest import read_manifest
from pipelines.core.variants import all_variants, architecture_of, display_name, int8_of, is_int8, variants_of
from pipelines.evaluate import stage
from pipelines.explain.answers import Answers
from pipelines.explain.gallery import architectures_panel, selected_panel
from pipelines.explain.selection import PANELS, pick_faces, pick_panels
from pipelines.export.pictures import read_pictures
from tests.support.report_data import CLASSES, write_data
from tests.support.timings import TIMING


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """What one pretended model is like."""

    title: str
    skill: float
    """Share of right answers, about."""
    p50_ms: float
    size_mb: float
    parameters: int
    epochs: int
    reason: str = "not pretrained"


CROPS = {
    "detector": "haar",
    "margin": 0.15,
    "images": 70,
    "found": 61,
    "whole": {"images": 61, "accuracy": 0.76, "macro_f1": 0.75},
    "face": {"images": 61, "accuracy": 0.69, "macro_f1": 0.68},
}
OFFLINE = "no network: scratch instead of imagenet"
MODELS = {
    "lenet": Simulated(title="LeNet-5", skill=0.66, p50_ms=0.21, size_mb=1.2, parameters=296_711, epochs=30),
    "vgg": Simulated(title="VGG-like", skill=0.78, p50_ms=1.9, size_mb=8.1, parameters=2_022_343, epochs=20),
    "mobilenet_v2": Simulated(
        title="MobileNetV2",
        skill=0.7,
        p50_ms=1.6,
        size_mb=9.9,
        parameters=2_422_855,
        epochs=9,
        reason=OFFLINE,
    ),
    "resnet50": Simulated(
        title="ResNet-50",
        skill=0.55,
        p50_ms=6.3,
        size_mb=95.6,
        parameters=23_850_887,
        epochs=5,
        reason=OFFLINE,
    ),
    "efficientnet_b4": Simulated(
        title="EfficientNet-B4",
        skill=0.45,
        p50_ms=9.5,
        size_mb=72.0,
        parameters=17_904_000,
        epochs=4,
        reason=OFFLINE,
    ),
    "vit": Simulated(title="ViT", skill=0.6, p50_ms=1.5, size_mb=2.0, parameters=470_000, epochs=20),
    "vit_pretrained": Simulated(
        title="ViT (pretrained)", skill=0.58, p50_ms=1.1, size_mb=1.1, parameters=242_000, epochs=12
    ),
}
SELECTED = "vgg"


def write_report_inputs(root: Path, params: Path, *, architectures: Sequence[str] = tuple(MODELS)) -> None:
    """Write everything below `root`.

    Args:
        root: empty folder.
        params: a `params.yaml` to copy.
        architectures: some of `MODELS`, `SELECTED` among them.
    """
    shutil.copy(params, root / paths.PARAMS)
    dataset = write_data(root)
    for seed, name in enumerate(architectures):
        _write_model(root, name, dataset=dataset, seed=seed)
    select(root, SELECTED, architectures=architectures)
    _write_explanations(root, architectures)
    write_json(root / paths.GATE, gate())


def select(root: Path, name: str, *, architectures: Sequence[str] = tuple(MODELS)) -> None:
    """Write the comparison with this variant selected."""
    rows = [_row(root, one) for one in all_variants(architectures)]
    comparison = {"metric": "macro_f1", "variants": "fastest", "selected": name, "rows": rows}
    write_json(root / paths.COMPARISON, comparison | {"timing": TIMING})
    times = {
        row["architecture"]: {"batch_1": {"p50_ms": row["p50_ms"], "p95_ms": row["p95_ms"]}} for row in rows
    }
    write_json(root / paths.LATENCY, {"timing": TIMING, "threads": 1, "rounds": 3, "models": times})


def gate(*, passed: bool = True) -> dict[str, Any]:
    """A verdict, as `gate` writes it."""
    worse = "macro-F1 is 0.610 against 0.700 of production, but a drop of at most 0.02 is allowed"
    value = 0.77 if passed else 0.61
    checks = [
        _check("min_accuracy", 0.78, 0.4, None, True, "accuracy is 0.780, at least 0.4 is asked"),
        _check("max_macro_f1_drop", value, 0.02, 0.7, passed, "no worse" if passed else worse),
        _check("max_latency_ms", 1.9, 200.0, None, True, "latency is 1.90 ms, at most 200 ms is allowed"),
    ]
    return {
        "architecture": SELECTED,
        "sha256": "ab" * 32,
        "passed": passed,
        "checks": checks,
        "production": None if passed else {"version": 1, "sha256": "cd" * 32},
        "reasons": [] if passed else [worse],
    }


def _check(
    name: str, value: float, threshold: float, production: float | None, passed: bool, reason: str
) -> dict[str, Any]:
    return {
        "name": name,
        "value": value,
        "threshold": threshold,
        "production": production,
        "passed": passed,
        "reason": reason,
    }


def _write_model(root: Path, name: str, *, dataset: str, seed: int) -> None:
    model, rng = MODELS[name], np.random.default_rng(seed)
    write_json(
        root / paths.weights_folder(name) / "origin.json",
        {"origin": "scratch", "reason": model.reason, "file": None},
    )
    history = _history(model, rng)
    best = int(history["val_macro_f1"].idxmax())
    record = {
        "architecture": name,
        "classes": list(CLASSES),
        "input": read_json(root / paths.DATASET)["input"],
        "dataset": dataset,
        "head": {"hidden": [128], "dropout": 0.3},
        "options": {},
        "weights": "scratch",
        "weights_reason": model.reason,
        "parameters": model.parameters,
        "epochs_run": model.epochs,
        "best_epoch": best + 1,
        "best": {key: float(history[key][best]) for key in ("val_loss", "val_accuracy", "val_macro_f1")},
        "phases": [{"name": "all", "epochs": model.epochs}],
        "precision": "float32",
    }
    write_json(root / paths.training_record(name), record)
    history.to_csv(root / paths.training_history(name), index=False)
    export = {
        "architecture": name,
        "temperature": 1.21,
        "val_nll_before": 0.9,
        "val_nll_after": 0.85,
        "parity": {"probabilities": 2e-7, "heatmap": 3e-6, "embedding": 4e-6},
        "size_bytes": int(model.size_mb * 1e6),
        "sha256": "ab" * 32,
        "opset": 18,
        "heatmap": [4, 4],
        "embedding": 128,
    }
    write_json(root / paths.export_record(name), export)
    twin = {"sha256": "ab" * 32, "size_bytes": export["size_bytes"], "pictures": 70, "same_answer": 0.986}
    small = {"architecture": int8_of(name), "size_bytes": export["size_bytes"] // 4, "twin": twin}
    write_json(root / paths.export_record(int8_of(name)), export | small)
    for variant in variants_of(name):
        _write_evaluation(root, variant, rng)


def _history(model: Simulated, rng: np.random.Generator) -> pd.DataFrame:
    epoch = np.arange(1, model.epochs + 1)
    learned = 1 - np.exp(-epoch / (model.epochs / 3))
    noise = rng.normal(0, 0.015, (2, model.epochs))
    score = 1 / 7 + (model.skill - 1 / 7) * learned + noise[0]
    rate = 1e-3 * (1 + np.cos(np.pi * epoch / model.epochs)) / 2
    return pd.DataFrame(
        {
            "epoch": epoch,
            "phase": "all",
            "learning_rate": rate,
            "loss": 1.95 - 1.5 * model.skill * learned,
            "accuracy": score + 0.1 * learned,
            "val_loss": 1.95 - 1.2 * model.skill * learned + noise[1],
            "val_accuracy": score,
            "val_macro_f1": score - 0.01,
        }
    ).round(6)


def _write_evaluation(root: Path, name: str, rng: np.random.Generator) -> None:
    model = MODELS[architecture_of(name)]
    manifest = read_manifest(root / paths.MANIFEST)
    rows = manifest[manifest["split"] != "train"]
    truth = rows["label"].map(list(CLASSES).index).to_numpy()
    logits = rng.normal(0, 1, (len(rows), len(CLASSES)))
    right = rng.random(len(rows)) < model.skill + 0.12 * np.cos(truth)
    logits[np.arange(len(rows)), np.where(right, truth, (truth + 2) % 7)] += rng.gamma(4, 0.9, len(rows))
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    table = rows[["path", "split", "label"]].assign(
        predicted=np.array(CLASSES)[probabilities.argmax(1)],
        confidence=probabilities.max(1),
        **{f"p_{label}": probabilities[:, index] for index, label in enumerate(CLASSES)},
    )
    scores = stage.score(table, manifest, CLASSES, samples=200, seed=0)
    facts = {
        "architecture": name,
        "title": display_name(model.title, name, weights="scratch"),
        "weights": "scratch",
        "parameters": model.parameters,
        "size_mb": model.size_mb / (4 if is_int8(name) else 1),
    }
    write_json(root / paths.evaluation_metrics(name), facts | scores | {"crops": CROPS})
    table.to_parquet(root / paths.evaluation_predictions(name), index=False)
    for plot, points in stage.plot_points(table, CLASSES).items():
        points.to_csv(root / paths.evaluation_plot(name, plot), index=False)


def _row(root: Path, name: str) -> dict[str, Any]:
    twin = architecture_of(name) if is_int8(name) else None
    model, metrics = MODELS[architecture_of(name)], read_json(root / paths.evaluation_metrics(name))
    p50_ms = model.p50_ms / 2 if twin else model.p50_ms
    lost = losses(metrics, read_json(root / paths.evaluation_metrics(twin))) if twin else {}
    keys = ("accuracy", "accuracy_low", "accuracy_high", "macro_f1", "macro_f1_low", "macro_f1_high")
    return {
        "architecture": name,
        "title": metrics["title"],
        "weights": "scratch",
        **{key: metrics["test"][key] for key in (*keys, "balanced_accuracy", "ece")},
        "p50_ms": p50_ms,
        "p95_ms": p50_ms * 1.2,
        "batch_16_p50_ms": p50_ms * 11,
        "twin": twin,
        "speed_up": 2.0 if twin else None,
        **(dict.fromkeys(("accuracy_drop", "class_drop", "class_dropped")) | lost),
        "size_mb": metrics["size_mb"],
        "parameters": model.parameters,
        "eligible": True,
        "reason": "",
    }


def _write_explanations(root: Path, architectures: Sequence[str]) -> None:
    table = pd.read_parquet(root / paths.evaluation_predictions(SELECTED))
    panels = pick_panels(table, count=6)
    faces = pick_faces(table, count=6, but=[pick for own in panels.values() for pick in own])
    folder = root / paths.EXPLANATIONS
    folder.mkdir(parents=True)
    record: dict[str, Any] = {
        "architecture": SELECTED,
        "architectures": list(architectures),
        "method": "Grad-CAM",
        "agreement": {"pictures": 18, "max_difference": 3.1e-06, "tolerance": 1e-3},
        "quantized": None,
        "panels": {},
    }
    for name in PANELS:
        picks = panels[name]
        pictures = read_pictures([root / paths.PREPARED / pick.path for pick in picks])
        maps = _heatmaps(len(picks), seed=0)
        record["panels"][name] = selected_panel(
            folder, name, picks=picks, pictures=pictures, keras=maps, onnx=maps
        )
    pictures = read_pictures([root / paths.PREPARED / face.path for face in faces])
    answers = {name: _answers(len(faces), seed=seed) for seed, name in enumerate(architectures)}
    record["faces"] = architectures_panel(folder, faces=faces, pictures=pictures, answers=answers)
    write_json(folder / "explain.json", record)


def _answers(count: int, *, seed: int) -> Answers:
    rng = np.random.default_rng(seed)
    return Answers(
        classes=CLASSES,
        top=rng.integers(0, len(CLASSES), count),
        confidence=rng.uniform(0.3, 1, count).astype(np.float32),
        heatmaps=_heatmaps(count, seed=seed),
    )


def _heatmaps(count: int, *, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    maps = np.stack([cv2.GaussianBlur(rng.random((4, 4)), (3, 3), 0) for _ in range(count)])
    maps = np.maximum(maps - 0.4, 0)
    return (maps / maps.max(axis=(1, 2), keepdims=True)).astype(np.float32)
