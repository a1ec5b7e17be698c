"""Sections about training: learning curves, augmentation and origin of the initial weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from pipelines.architectures import load_architecture
from pipelines.core import paths
from pipelines.core.model_results import TrainingRecord
from pipelines.core.variants import SCRATCH
from pipelines.explain.selection import Pick, spread
from pipelines.export.pictures import read_pictures
from pipelines.report import charts
from pipelines.report.charts import chart
from pipelines.report.formatting import data_uri
from pipelines.report.inputs import Inputs, ModelInputs
from pipelines.report.page import Heading, Section, absent
from pipelines.train.augmentation import augment, changes_geometry, erase, random_boxes, random_transforms
from serving.contract.arrays import Image

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TRAINING = Heading("training", "Learning curves", "Training")
_WIDTH, _HEIGHT = 240, 290


def training_section(inputs: Inputs) -> Section:
    """Show loss and macro-F1 over the epochs, all architectures on the same scales."""
    trained = [
        (model, model.history, model.training)
        for model in inputs.models
        if model.history is not None and model.training is not None
    ]
    if not trained:
        return absent(_TRAINING, lacks="A training history", stage="train")
    # One loss scale for all; the highest losses of untrained networks are cut off.
    losses = [value for _, history, _ in trained for value in (*history["loss"], *history["val_loss"])]
    top = sorted(losses)[int(0.97 * (len(losses) - 1))] * 1.08
    return Section(
        heading=_TRAINING,
        context={
            "models": [_entry(model, history, record, top=top) for model, history, record in trained],
            "waiting": [model.name for model in inputs.models if model.history is None],
        },
    )


def _entry(
    model: ModelInputs, history: pd.DataFrame, record: TrainingRecord, *, top: float
) -> dict[str, Any]:
    return {
        "title": model.title,
        "epochs": record.epochs_run,
        "best_epoch": record.best_epoch,
        "phases": record.phases,
        "chart": _curves(model, history, record, top=top),
    }


def _curves(model: ModelInputs, history: pd.DataFrame, record: TrainingRecord, *, top: float) -> Markup:
    def draw(figure: Figure) -> None:
        upper, lower = figure.subplots(2, 1, sharex=True)
        epochs = history["epoch"]
        upper.plot(epochs, history["loss"], color=charts.FAINT)
        upper.plot(epochs, history["val_loss"], color=charts.ACCENT)
        upper.set(ylim=(0, top), title="loss")
        upper.tick_params(labelbottom=False)
        lower.plot(epochs, history["accuracy"], color=charts.FAINT)
        lower.plot(epochs, history["val_macro_f1"], color=charts.ACCENT)
        lower.set(ylim=(0, 1.02), title="accuracy / macro-F1", xlabel="epoch")
        for axes, column in ((upper, "val_loss"), (lower, "val_macro_f1")):
            _mark(axes, history, column, record)

    reached = f", validation macro-F1 {record.best.val_macro_f1:.2f} at epoch {record.best_epoch}"
    return chart(
        f"curves-{model.name}",
        draw,
        width=_WIDTH,
        height=_HEIGHT,
        alt=f"{model.title}: loss and macro-F1 over {record.epochs_run} epochs{reached}",
    )


def _mark(axes: Axes, history: pd.DataFrame, column: str, record: TrainingRecord) -> None:
    """Mark the epoch whose weights were kept with a dot, and the end of each phase with a line."""
    from matplotlib.ticker import MaxNLocator

    kept = history[history["epoch"] == record.best_epoch]
    axes.plot(
        kept["epoch"], kept[column], "o", color=charts.ACCENT, markersize=6, markeredgecolor=charts.CARD
    )
    changes = history["phase"].ne(history["phase"].shift()).to_numpy().nonzero()[0][1:]
    for row in changes:
        axes.axvline(history["epoch"].iloc[row] - 0.5, color=charts.FAINT, linewidth=1, linestyle=(0, (2, 3)))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
    last = int(history["epoch"].max())
    axes.set_xlim(min(0.5, last - 0.5), last + 0.5)


_AUGMENTATION = Heading("augmentation", "Augmentation", "Augmentation")
_FACES, _VARIANTS = 4, 7


def augmentation_section(inputs: Inputs) -> Section:
    """Show some training faces, each unchanged and with random augmentation."""
    if inputs.manifest is None:
        return absent(_AUGMENTATION, lacks="The manifest", stage="prepare")
    train = inputs.manifest[inputs.manifest["split"] == "train"]
    picks = spread(
        Pick(path=path, label=label, predicted=label, confidence=1.0)
        for path, label in zip(train["path"], train["label"], strict=True)
    )[:_FACES]
    places = [inputs.root / paths.PREPARED / pick.path for pick in picks]
    if not all(place.exists() for place in places):
        return absent(_AUGMENTATION, lacks="A prepared picture", stage="prepare")
    settings = inputs.params.augmentation
    rng = np.random.default_rng(inputs.params.seed)
    rows = []
    for pick, face in zip(picks, read_pictures(places), strict=True):
        rows.append(
            {
                "label": pick.label,
                "original": data_uri(face),
                "variants": [data_uri(variant) for variant in _variants(face, inputs, rng)],
            }
        )
    return Section(
        heading=_AUGMENTATION,
        context={
            "rows": rows,
            "idle": not (changes_geometry(settings) or settings.erasing),
            "erasing": settings.erasing,
            "mixup": settings.mixup,
            "cutmix": settings.cutmix,
            "flip": settings.flip,
            "degrees": settings.rotation * 360,
            "zoom": settings.zoom,
            "shift": settings.shift,
        },
    )


def _variants(face: Image, inputs: Inputs, rng: np.random.Generator) -> Image:
    height, width = face.shape[:2]
    settings = inputs.params.augmentation
    transforms = random_transforms(settings, rng, count=_VARIANTS, height=height, width=width)
    variants = augment(np.stack([face] * _VARIANTS), transforms)
    if not settings.erasing:
        return variants
    boxes = random_boxes(settings.erasing, rng, count=_VARIANTS, height=height, width=width)
    return erase(variants, boxes, rng.integers(0, 256, face.shape, np.uint8))


_WEIGHTS = Heading("weights", "Origin of the initial weights", "Weights")


def weights_section(inputs: Inputs) -> Section:
    """Show the origin by architecture, with a warning where pretrained weights were not available."""
    known = [(model, model.origin) for model in inputs.models if model.origin is not None]
    if not known:
        return absent(_WEIGHTS, lacks="The weights' origin", stage="weights")
    return Section(
        heading=_WEIGHTS,
        context={
            "models": [
                {
                    "title": model.title,
                    "name": model.name,
                    "origin": origin.origin,
                    "reason": origin.reason,
                    "lacking": is_lacking(inputs, model),
                }
                for model, origin in known
            ],
            "lacking": [model.title for model, _ in known if is_lacking(inputs, model)],
            "source": inputs.params.weights.source,
        },
    )


def is_lacking(inputs: Inputs, model: ModelInputs) -> bool:
    """Whether the network should have started from pretrained weights that were not available."""
    if model.origin is None or model.origin.origin != SCRATCH or inputs.params.weights.source == SCRATCH:
        return False
    options = inputs.params.model(model.name).options
    return load_architecture(model.name).pretrained_weights(options) is not None
