"""How charts look. Their colours are markers that `svg` replaces by those of the page, light or dark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours no chart would use by itself; each stands for a CSS variable of templates/style.css.
MARKERS: Final = {
    "#000001": "ink",
    "#000002": "soft",
    "#000003": "line",
    "#000004": "accent",
    "#000005": "second",
    "#000006": "faint",
    "#000007": "card",
    "#000008": "good",
    "#000009": "bad",
}
INK, SOFT, LINE, ACCENT, SECOND, FAINT, CARD, GOOD, BAD = MARKERS

TEXT_PX: Final = 12.0
SMALL_PX: Final = 11.0

# Any: Matplotlib types its settings by the literal of each name.
RC: Final[Any] = {
    "svg.fonttype": "none",
    "font.size": TEXT_PX,
    "text.color": INK,
    "axes.titlesize": TEXT_PX,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": SMALL_PX,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": LINE,
    "axes.linewidth": 1.0,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 1.0,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "xtick.labelsize": SMALL_PX,
    "ytick.labelsize": SMALL_PX,
    "xtick.major.size": 0,
    "xtick.major.pad": 6,
    "ytick.major.pad": 6,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "patch.linewidth": 0,
    "text.parse_math": False,
    "figure.facecolor": "none",
    "legend.frameon": False,
    "legend.fontsize": SMALL_PX,
}


def only_horizontal_grid(axes: Axes) -> None:
    """For charts whose horizontal axis is a list of names."""
    axes.grid(visible=False, axis="x")
    axes.spines["left"].set_visible(False)


def only_vertical_grid(axes: Axes) -> None:
    """For charts whose vertical axis is a list of names."""
    axes.grid(visible=False, axis="y")
    axes.spines["bottom"].set_visible(False)
    axes.spines["left"].set_visible(False)
