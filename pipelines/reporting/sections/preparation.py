"""What `prepare` found in the originals and what it removed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.report.inputs import Inputs
from pipelines.report.page import Section, absent

_ID, _TITLE, _SHORT = "preparation", "What was removed, and why", "Preparation"
_SHOWN = 8
"""Examples of each kind; the whole lists are in reports/prepare.json."""
_KINDS = {
    "unreadable": "cannot be read",
    "no_face": "no face found",
    "group_in_another_split": "the person is in another split",
    "duplicate": "the same pixels as another picture",
    "conflicting_labels": "identical pictures with different labels",
}


def section(inputs: Inputs) -> Section:
    """Counts by kind, with examples."""
    report = inputs.prepared
    if report is None:
        return absent(_ID, _TITLE, short=_SHORT, lacks="`reports/prepare.json`", stage="prepare")
    kinds = [
        {
            "name": why,
            "count": report["removed"].get(name, 0),
            "examples": _examples(report, name),
        }
        for name, why in _KINDS.items()
    ]
    return Section(
        id=_ID,
        title=_TITLE,
        short=_SHORT,
        context={
            "found": report["found"],
            "kept": report["kept"],
            "kinds": kinds,
            "near": report.get("near_duplicates"),
            "modes": report.get("modes", {}),
        },
    )


def _examples(report: Mapping[str, Any], kind: str) -> list[str]:
    """A line for each of the first few pictures of a kind."""
    entries = report.get({"duplicate": "duplicates"}.get(kind, kind), {}).get("list", [])
    return [_line(entry) for entry in entries[:_SHOWN]]


def _line(entry: Mapping[str, Any]) -> str:
    if "sources" in entry:
        pairs = zip(entry["sources"], entry["labels"], strict=True)
        return " = ".join(f"{source} ({label})" for source, label in pairs)
    if "kept" in entry:
        return f"{entry['source']} ({entry['split']}) = {entry['kept']} ({entry['kept_split']})"
    return f"{entry['source']}: {entry['reason']}"
