"""The plot of a soak test: memory of each process over the run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.plots import write_svg
from benchmarks.soak.processes import ANSWERING, DRIFT, FETCHING, REGISTRY
from benchmarks.soak.record import Role, SoakRecord
from pipelines.report.charts import ACCENT, FAINT, INK, SECOND, SOFT, only_horizontal_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINES = {ANSWERING: ACCENT, REGISTRY: SECOND}
_DOTS = {FETCHING: SOFT, DRIFT: INK}
"""They last seconds: a line would join what is minutes apart."""
_SIZE = (900, 300)


def write_memory(record: SoakRecord, path: Path) -> None:
    """Write memory over time as SVG; promotions are short lines at the bottom."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for role, colour in _LINES.items():
            axes.plot(*_points(record, role), color=colour, label=f"process that {role}")
        for role, colour in _DOTS.items():
            minutes, mib = _points(record, role)
            if minutes:
                axes.plot(minutes, mib, "o", markersize=3, color=colour, label=f"process that {role}")
        _promotions(axes, record)
        axes.set_xlabel("minutes")
        axes.set_ylabel("proportional set size, MiB")
        axes.set_xlim(0, record.seconds / 60)
        most = max((max(_points(record, role)[1], default=0) for role in (*_LINES, *_DOTS)), default=0)
        axes.set_ylim(0, 1.08 * most or 1)
        only_horizontal_grid(axes)
        figure.legend(loc="outside upper left", ncols=3, labelcolor=INK)

    write_svg(path, "soak", draw, size=_SIZE, alt="Memory of the service's processes during the soak test")


def _points(record: SoakRecord, role: Role) -> tuple[Sequence[float], Sequence[float]]:
    """Minutes since the begin, and MiB, of the samples in which a process has this role."""
    points = [
        (
            (sample.at - record.begun_at) / 60,
            sum(use.memory_mib for use in sample.processes if use.role == role),
        )
        for sample in record.samples
        if any(use.role == role for use in sample.processes)
    ]
    return [minute for minute, _ in points], [mib for _, mib in points]


def _promotions(axes: Axes, record: SoakRecord) -> None:
    moments = [(swap.moved_at - record.begun_at) / 60 for swap in record.swaps]
    if moments:
        axes.vlines(
            moments,
            0,
            0.04,
            transform=axes.get_xaxis_transform(),
            color=FAINT,
            linewidth=1,
            label="promotion",
        )
