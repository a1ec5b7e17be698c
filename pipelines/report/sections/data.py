"""Sections about the data: class distribution, preparation and validation; and the run's parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pipelines.core.manifest import SPLITS
from pipelines.core.paths import RELABEL
from pipelines.explain.selection import Pick, spread
from pipelines.report import charts
from pipelines.report.charts import responsive
from pipelines.report.formatting import prepared_uri
from pipelines.report.inputs import Inputs
from pipelines.report.page import Heading, Section, absent

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_DATA = Heading("data", "The data", "Data")
_SAMPLES = 8
"""Faces shown of each class."""
_COLORS = {"train": charts.ACCENT, "val": charts.SECOND, "test": charts.FAINT}


def data_section(inputs: Inputs) -> Section:
    """Show the class distribution by split and sample faces."""
    if inputs.manifest is None:
        return absent(_DATA, lacks="The manifest", stage="prepare")
    manifest = inputs.manifest
    labels = sorted(manifest["label"].unique())
    return Section(
        heading=_DATA,
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
    # One picture per person if possible: pictures of one person are adjacent in the table.
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


_NESTED = ("models", "quantization")
"""Blocks that contain one block for each network."""


def parameters_section(inputs: Inputs) -> Section:
    """Show one small table for each block of `params.yaml`; nested keys have dots."""
    return Section(
        heading=Heading("parameters", "Parameters", "Parameters"),
        context={"blocks": [(name, list(_flat(block))) for name, block in _blocks(inputs.settings)]},
    )


def _blocks(settings: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield "run", {key: value for key, value in settings.items() if not isinstance(value, Mapping)}
    for key, value in settings.items():
        if key in _NESTED:
            yield from ((f"{key}.{name}", block) for name, block in value.items())
        elif isinstance(value, Mapping):
            yield key, value


def _flat(block: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in block.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _text(value)


def _text(value: object) -> str:
    """Format a value as YAML writes it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value)
    return str(value)


_PREPARATION = Heading("preparation", "Removed pictures", "Preparation")
_SHOWN = 8
"""Examples of each kind; the complete lists are in reports/prepare.json."""
_KINDS = {
    "unreadable": "cannot be read",
    "no_face": "no face found",
    "group_in_another_split": "the person is in another split",
    "duplicate": "the same pixels as another picture",
    "conflicting_labels": "identical pictures with different labels",
    "left_out_by_hand": f"left out by {RELABEL}",
}


def preparation_section(inputs: Inputs) -> Section:
    """Show the number of removed pictures by reason, with examples."""
    report = inputs.prepared
    if report is None:
        return absent(_PREPARATION, lacks="`reports/prepare.json`", stage="prepare")
    entries = {
        "unreadable": report.unreadable.entries,
        "no_face": report.no_face.entries,
        "group_in_another_split": report.group_in_another_split.entries,
        "duplicate": report.duplicates.entries,
        "conflicting_labels": report.conflicting_labels.entries,
        "left_out_by_hand": (),
    }
    return Section(
        heading=_PREPARATION,
        context={
            "found": report.found,
            "kept": report.kept,
            "kinds": [
                {
                    "name": why,
                    "count": report.removed[name],
                    "examples": [str(entry) for entry in entries[name][:_SHOWN]],
                }
                for name, why in _KINDS.items()
                if name in report.removed
            ],
            "near": report.near_duplicates,
            "relabelled": report.relabelled,
            "modes": report.modes,
        },
    )


_VALIDATION = Heading("validation", "Validation of the data", "Validation")


def validation_section(inputs: Inputs) -> Section:
    """Show every expectation with the observed value; failed ones first."""
    report = inputs.validation
    if report is None:
        return absent(_VALIDATION, lacks="`reports/validation.json`", stage="validate")
    checks = report.checks
    failed = [check for check in checks if not check.passed]
    return Section(
        heading=_VALIDATION,
        context={
            "passed": report.passed,
            "failed": sorted(failed, key=lambda check: check.severity != "critical"),
            "held": [check for check in checks if check.passed],
            "total": len(checks),
        },
    )
