"""Sections with example pictures: heatmaps from `explain`, and the most confident mistakes."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from pipelines.core import paths
from pipelines.explain.selection import (
    CONFIDENT_WRONG,
    CORRECT,
    WRONG,
    ComparedFace,
    PanelFace,
    pick_panels,
)
from pipelines.report.formatting import file_uri, prepared_uri
from pipelines.report.inputs import Inputs
from pipelines.report.page import Heading, Section, absent

Shown = TypeVar("Shown", PanelFace, ComparedFace)

_HEATMAPS = Heading("heatmaps", "Heatmaps", "Heatmaps")
_PANELS = {
    CORRECT: ("Correct", "No test picture was classified correctly."),
    WRONG: ("Wrong", "No further test picture was misclassified."),
    CONFIDENT_WRONG: ("Wrong with high confidence", "No test picture was misclassified."),
}


def heatmaps_section(inputs: Inputs) -> Section:
    """Show the selected network's heatmaps from Keras and ONNX, and all networks on the same faces."""
    record = inputs.explanation
    if record is None:
        return absent(_HEATMAPS, lacks="`reports/explain/explain.json`", stage="explain")
    titles = {model.name: model.title for model in (*inputs.models, *inputs.quantized)}
    architectures = [name for name in record.architectures if name in titles]
    return Section(
        heading=_HEATMAPS,
        context={
            "method": record.method,
            "agreement": record.agreement,
            "quantized": record.quantized,
            "faithfulness": record.faithfulness,
            "selected": titles.get(record.architecture, record.architecture),
            "panels": [
                {
                    "title": title,
                    "nothing": nothing,
                    "faces": [_with_tiles(inputs, face) for face in record.panels.get(name, ())],
                }
                for name, (title, nothing) in _PANELS.items()
            ],
            "architectures": [(name, titles[name]) for name in architectures],
            "faces": [_with_tiles(inputs, face) for face in record.faces],
        },
    )


def example_faces(inputs: Inputs, count: int) -> list[PanelFace]:
    """Return some correct predictions with their heatmaps, for the top of the page."""
    if inputs.explanation is None:
        return []
    return [_with_tiles(inputs, face) for face in inputs.explanation.panels.get(CORRECT, ())[:count]]


def _with_tiles(inputs: Inputs, face: Shown) -> Shown:
    """Replace the paths of the tiles by data URIs; a missing tile has an empty one."""
    folder = inputs.root / paths.EXPLANATIONS
    return replace(face, tiles={kind: file_uri(folder / place) or "" for kind, place in face.tiles.items()})


_MISTAKES = Heading("mistakes", "The most confident mistakes", "Mistakes")
_SHOWN = 16


def mistakes_section(inputs: Inputs) -> Section:
    """Show misclassified test pictures, the most confident first."""
    selected = inputs.selected
    if selected is None or selected.predictions is None:
        return absent(_MISTAKES, lacks="The selected model's predictions", stage="evaluate compare")
    wrong = int((selected.predictions["label"] != selected.predictions["predicted"]).sum())
    picks = pick_panels(selected.predictions, count=_SHOWN)[CONFIDENT_WRONG]
    return Section(
        heading=_MISTAKES,
        context={
            "title": selected.title,
            "wrong": wrong,
            "total": len(selected.predictions),
            "faces": [
                {
                    "pick": pick,
                    "name": pick.path.rsplit("/", 1)[-1],
                    "uri": prepared_uri(inputs.root, pick.path),
                }
                for pick in picks
            ],
        },
    )
