"""One HTML file about the whole run: `python -m pipelines.report`.

Needs nothing but the file: pictures, charts and styles are inside. Open `reports/report.html` in any browser.
"""

from __future__ import annotations

from pathlib import Path

from pipelines.core.cli import run_stage
from pipelines.core.io import write_text
from pipelines.core.paths import REPORT
from pipelines.reporting.inputs import read_inputs
from pipelines.reporting.page import render


def report(root: Path, path: Path) -> None:
    """Write the report about the results below `root` to `path`, whole or not at all.

    Raises:
        PipelineError: a result is damaged, or the file cannot be written.
    """
    write_text(path, render(read_inputs(root)))


def main() -> None:
    """Write the report of this checkout."""
    report(Path(), REPORT)
    print(f"{REPORT}: {REPORT.stat().st_size / 1e6:.1f} MB, open it in a browser")


if __name__ == "__main__":
    run_stage(main)
