"""Evidently's workspace: which plot a column is in, and how long reports stay."""

from __future__ import annotations

import os
from pathlib import Path

from flows.drift.workspace import delete_snapshots, group_by_panel


def test_columns_are_plotted_with_their_like() -> None:
    columns = ["brightness", "confidence", "entropy", "face_size", "embedding_1", "embedding_2", "predicted"]
    assert group_by_panel(columns) == {
        "Pictures": ["brightness", "face_size"],
        "Answers": ["confidence", "entropy", "predicted"],
        "Embedding": ["embedding_1", "embedding_2"],
    }
    assert group_by_panel(["contrast"]) == {"Pictures": ["contrast"]}


def test_old_reports_go_and_the_projects_own_files_stay(tmp_path: Path) -> None:
    snapshots = tmp_path / "project" / "snapshots"
    snapshots.mkdir(parents=True)
    for path, written in (
        (snapshots / "old.json", 100),
        (snapshots / "new.json", 200),
        (tmp_path / "project" / "metadata.json", 50),
    ):
        path.write_text("{}")
        os.utime(path, (written, written))
    assert delete_snapshots(tmp_path, before=150) == 1
    assert sorted(path.name for path in tmp_path.rglob("*.json")) == ["metadata.json", "new.json"]
    assert delete_snapshots(tmp_path / "nowhere", before=150) == 0
