"""Write the report, one HTML file about the whole run: `python -m pipelines.report`.

Pictures, charts and styles are embedded. Open `reports/report.html` in any browser.
"""

from __future__ import annotations

from pathlib import Path

import jinja2

from pipelines.core.io import write_text
from pipelines.core.paths import REPORT
from pipelines.report import formatting
from pipelines.report.inputs import Inputs, read_inputs
from pipelines.report.sections import all_sections
from pipelines.report.sections.headline import headline

_TEMPLATES = Path(__file__).parent / "templates"


def render(inputs: Inputs) -> str:
    """Render the report as HTML; equal inputs give equal text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        # A variable that the context lacks is a bug and must not render as empty text.
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": formatting.percent,
        "share": formatting.share,
        "count": formatting.count,
        "large": formatting.large,
        "measure": formatting.measure,
        "plain": formatting.plain,
    }
    environment.globals["plural"] = formatting.plural
    return environment.get_template("page.html.j2").render(
        sections=all_sections(inputs), headline=headline(inputs)
    )


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
