"""The answers that were wrong and sounded surest."""

from __future__ import annotations

from pipelines.explain.selection import CONFIDENT_WRONG, pick_panels
from pipelines.report.formatting import prepared_uri
from pipelines.report.inputs import Inputs
from pipelines.report.page import Section, absent

_ID, _TITLE, _SHORT = "mistakes", "The most confident mistakes", "Mistakes"
_SHOWN = 16


def section(inputs: Inputs) -> Section:
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
