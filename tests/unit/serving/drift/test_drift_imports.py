"""Evidently costs seconds and 300 MiB: one module names it, and only a process of its own loads that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.unit.serving.model_sync.test_imports import importers


def test_only_the_report_imports_evidently(repository: Path) -> None:
    assert importers(repository / "serving", "evidently") == {"drift/report.py"}
    assert importers(repository / "serving", "serving.drift.report") == {"drift/compute.py"}
    # The answering process starts the computation by name.
    assert importers(repository / "serving", "serving.drift.compute") == set()


def test_the_application_loads_neither_evidently_nor_pandas(repository: Path) -> None:
    code = "import sys, serving.http.app; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=repository,
        env=os.environ | {"PYTHONPATH": str(repository)},
    )
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert not loaded & {"evidently", "pandas", "pyarrow", "sklearn", "plotly"}
