"""How many pictures there are of each class, and what they look like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.core.manifest import SPLITS
from pipelines.explain.selection import Pick, spread
from pipelines.report import charts
from pipelines.report.charts import responsive
from pipelines.report.formatting import prepared_uri
from pipelines.report.inputs import Inputs
from pipelines.report.page import Section, absent

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_ID, _TITLE, _SHORT = "data", "The data", "Data"
_SAMPLES = 8
"""Faces shown of each class."""
_COLORS = {"train": charts.ACCENT, "val": charts.SECOND, "test": charts.FAINT}


def section(inputs: Inputs) -> Section:
    """Class distribution by split and a sample of faces."""
    if inputs.manifest is None:
        return absent(_ID, _TITLE, short=_SHORT, lacks="The manifest", stage="prepare")
    manifest = inputs.manifest
    labels = sorted(manifest["label"].unique())
    return Section(
        id=_ID,
        title=_TITLE,
        short=_SHORT,
        context={
            "chart": _distribution(manifest, labels),
            "splits": _splits(manifest),
            "samples": [(label, _samples(inputs, manifest, label)) for label in labels],
            "people": int(manifest["group"].nunique()),
            "total": len(manifest),
        },
    )


def _splits(manifest: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            "name": split,
            "images": len(part),
            "share": len(part) / len(manifest),
            "groups": int(part["group"].nunique()),
        }
        for split in SPLITS
        if len(part := manifest[manifest["split"] == split])
    ]


def _distribution(manifest: pd.DataFrame, labels: list[str]) -> object:
    def draw(figure: Figure) -> None:
        import seaborn as sns
        from matplotlib.container import BarContainer

        axes = figure.subplots()
        sns.countplot(
            manifest,
            y="label",
            hue="split",
            order=labels,
            hue_order=list(SPLITS),
            palette=_COLORS,
            saturation=1,
            width=0.84,
            ax=axes,
        )
        for bars in axes.containers:
            if isinstance(bars, BarContainer):
                axes.bar_label(bars, padding=4, fontsize=charts.SMALL_PX, color=charts.SOFT)
        axes.set(xlabel="pictures", ylabel="")
        axes.margins(x=0.09)
        axes.tick_params(axis="y", labelsize=charts.TEXT_PX, labelcolor=charts.INK)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, title=None)
        charts.only_vertical_grid(axes)

    height = 60 + 46 * len(labels)
    return responsive(
        "distribution",
        draw,
        wide=(620, height),
        narrow=(340, height),
        alt=f"Pictures of each class in {', '.join(SPLITS)}: bars for {', '.join(labels)}",
    )


def _samples(inputs: Inputs, manifest: pd.DataFrame, label: str) -> list[dict[str, str]]:
    rows = manifest[(manifest["split"] == "train") & (manifest["label"] == label)]
    # One picture of each person first: faces of one person follow each other in the table.
    unique = rows.drop_duplicates("group")
    paths = (unique if len(unique) >= _SAMPLES else rows)["path"]
    picks = [Pick(path=path, label=label, predicted=label, confidence=1.0) for path in paths]
    return [
        {
            "uri": uri,
            "alt": f"{label}, training picture {pick.path.rsplit('/', 1)[-1]}",
        }
        for pick in spread(picks)[:_SAMPLES]
        if (uri := prepared_uri(inputs.root, pick.path)) is not None
    ]
