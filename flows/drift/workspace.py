"""Evidently's workspace: what `evidently ui --workspace .mien/evidently` shows."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flows.errors import DriftUnfinished

if TYPE_CHECKING:
    from evidently.ui.workspace import Project

WORKSPACE = Path(".mien/evidently")
"""Relative to the checkout."""
PANELS: Mapping[str, tuple[str, ...]] = {
    "Pictures": (),
    "Answers": ("confidence", "entropy", "novelty", "predicted"),
    "Embedding": ("embedding_",),
}
"""Title → prefixes of its columns; the first panel has all other columns."""
# Evidently's name of the metric of `serving.drift.report`.
_METRIC = "ValueDrift"
_SNAPSHOTS = "*/snapshots/*.json"


def add_snapshot(snapshot: Path, *, workspace: Path, project: str, columns: Sequence[str]) -> None:
    """Add one run of Evidently.

    Args:
        snapshot: file that `serving.drift` has written.
        workspace: folder; created if it does not exist.
        project: name of the project, one for each registered model.
        columns: that were compared; each becomes a line of one of the project's plots.

    Raises:
        DriftUnfinished: Evidently cannot read the snapshot or write the workspace.
    """
    try:
        # Evidently's modules emit warnings about their own imports.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _add(snapshot, workspace=workspace, project=project, columns=columns)
    # Evidently has no common base class of errors, and none of them may hide the verdict.
    except Exception as error:
        raise DriftUnfinished(
            what=f"adding the report to {workspace}", reason=" ".join(str(error).split())[:300]
        ) from error


def delete_snapshots(workspace: Path, before: float) -> int:
    """Delete snapshots that were added before a time (seconds since 1970, UTC); returns their number.

    Raises:
        OSError: a file cannot be deleted.
    """
    old = [path for path in workspace.glob(_SNAPSHOTS) if path.stat().st_mtime < before]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)


def _add(snapshot: Path, *, workspace: Path, project: str, columns: Sequence[str]) -> None:
    from evidently.core.report import Snapshot
    from evidently.ui.workspace import Workspace

    workspace.mkdir(parents=True, exist_ok=True)
    shown = Workspace.create(str(workspace))
    found = shown.search_project(project)
    chosen = found[0] if found else shown.create_project(project)
    if not found:
        _add_plots(chosen, columns)
    shown.add_run(chosen.id, Snapshot.loads(snapshot.read_text(encoding="utf-8")))


def _add_plots(project: Project, columns: Sequence[str]) -> None:
    from evidently.sdk.models import PanelMetric
    from evidently.sdk.panels import line_plot_panel

    for title, names in group_by_panel(columns).items():
        values = [PanelMetric(legend=name, metric=_METRIC, metric_labels={"column": name}) for name in names]
        panel = line_plot_panel(title=f"{title}: distance from the reference", values=values, size="full")
        project.dashboard.add_panel(panel, tab="Drift", create_if_not_exists=True)


def group_by_panel(columns: Sequence[str]) -> dict[str, list[str]]:
    """Group columns by panel, because a plot has only six colours."""
    rest, *others = PANELS
    groups: dict[str, list[str]] = {title: [] for title in PANELS}
    for name in columns:
        fitting = [title for title in others if name.startswith(PANELS[title])]
        groups[fitting[0] if fitting else rest].append(name)
    return {title: names for title, names in groups.items() if names}
