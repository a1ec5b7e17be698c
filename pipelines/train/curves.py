"""Loss and quality over the epochs, as one picture for the MLflow run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def draw_curves(history: Sequence[Mapping[str, Any]], *, title: str, best_epoch: int, path: Path) -> None:
    """Draw training and validation curves into a PNG of 1000×400 px."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), dpi=100, layout="constrained")
    figure.suptitle(title)
    epochs = [row["epoch"] for row in history]
    panels = (
        ("cross-entropy, nats", {"loss": "training", "val_loss": "validation"}),
        ("share", {"accuracy": "training accuracy", "val_accuracy": "accuracy", "val_macro_f1": "macro-F1"}),
    )
    for axes, (label, curves) in zip(figure.subplots(1, 2), panels, strict=True):
        for key, name in curves.items():
            axes.plot(epochs, [row[key] for row in history], marker=".", label=name)
        axes.axvline(best_epoch, color="0.6", linestyle=":", label="best epoch")
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, format="png")
