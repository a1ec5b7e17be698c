"""What the networks looked at, from `explain`.

The answers that were wrong and sounded surest.
"""

from __future__ import annotations

from typing import Any

from pipelines.core import paths
from pipelines.explain.selection import CONFIDENT_WRONG, CORRECT, WRONG, pick_panels
from pipelines.report.formatting import file_uri, prepared_uri
from pipelines.report.inputs import Inputs, Record
from pipelines.report.page import Section, absent

_ID, _TITLE, _SHORT = "heatmaps", "What it looked at", "Heatmaps"
_PANELS = {
    CORRECT: ("Right", "No test picture was classified rightly."),
    WRONG: ("Wrong", "No further test picture was classified wrongly."),
    CONFIDENT_WRONG: ("Wrong and sure of it", "No test picture was classified wrongly."),
}


def heatmaps_section(inputs: Inputs) -> Section:
    """The selected network's heatmaps, Keras beside ONNX, and all networks on the same faces."""
    record = inputs.explanation
    if record is None:
        return absent(_ID, _TITLE, short=_SHORT, lacks="`reports/explain/explain.json`", stage="explain")
    titles = {model.name: model.title for model in (*inputs.models, *inputs.quantized)}
    architectures = [name for name in record["architectures"] if name in titles]
    return Section(
        id=_ID,
        title=_TITLE,
        short=_SHORT,
        context={
            "method": record["method"],
            "agreement": record["agreement"],
            "quantized": record.get("quantized"),
            "selected": titles.get(record["architecture"], record["architecture"]),
            "panels": [
                {"title": title, "nothing": nothing, "faces": _faces(inputs, record["panels"].get(name, []))}
                for name, (title, nothing) in _PANELS.items()
            ],
            "architectures": [(name, titles[name]) for name in architectures],
            "faces": _faces(inputs, record["faces"]),
        },
    )


def hero(inputs: Inputs, count: int) -> list[dict[str, Any]]:
    """A few right answers with their heatmaps, for the top of the page."""
    record: Record = inputs.explanation or {"panels": {}}
    return _faces(inputs, record["panels"].get(CORRECT, [])[:count])


def _faces(inputs: Inputs, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Entries of `explain.json` with their tiles as data URIs; a tile that is gone has none."""
    folder = inputs.root / paths.EXPLANATIONS
    return [
        {**entry, "tiles": {kind: file_uri(folder / place) for kind, place in entry["tiles"].items()}}
        for entry in entries
    ]


_ID, _TITLE, _SHORT = "mistakes", "The most confident mistakes", "Mistakes"
_SHOWN = 16


def mistakes_section(inputs: Inputs) -> Section:
    """Wrongly classified test pictures, the most confident first."""
    selected = inputs.selected
    if selected is None or selected.predictions is None:
        return absent(
            _ID, _TITLE, short=_SHORT, lacks="The selected model's predictions", stage="evaluate compare"
        )
    wrong = int((selected.predictions["label"] != selected.predictions["predicted"]).sum())
    picks = pick_panels(selected.predictions, count=_SHOWN)[CONFIDENT_WRONG]
    return Section(
        id=_ID,
        title=_TITLE,
        short=_SHORT,
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
