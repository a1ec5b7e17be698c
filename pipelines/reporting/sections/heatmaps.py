"""What the networks looked at, from `explain`."""

from __future__ import annotations

from typing import Any

from pipelines.core import paths
from pipelines.explain.selection import CONFIDENT_WRONG, CORRECT, WRONG
from pipelines.report.formatting import file_uri
from pipelines.report.inputs import Inputs, Record
from pipelines.report.page import Section, absent

_ID, _TITLE, _SHORT = "heatmaps", "What it looked at", "Heatmaps"
_PANELS = {
    CORRECT: ("Right", "No test picture was classified rightly."),
    WRONG: ("Wrong", "No further test picture was classified wrongly."),
    CONFIDENT_WRONG: ("Wrong and sure of it", "No test picture was classified wrongly."),
}


def section(inputs: Inputs) -> Section:
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
