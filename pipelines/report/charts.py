"""Charts of the report: style, conversion to inline SVG and placement of labels.

Text stays text in the page's font. Colours are placeholders that `chart` replaces with CSS variables, so
that charts follow the page's light or dark theme. Labels overlap neither points nor each other.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Placeholder colours that no chart uses otherwise; each represents a CSS variable of templates/style.css.
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
    """Hide the vertical grid lines, for charts whose horizontal axis is a list of names."""
    axes.grid(visible=False, axis="x")
    axes.spines["left"].set_visible(False)


def only_vertical_grid(axes: Axes) -> None:
    """Hide the horizontal grid lines, for charts whose vertical axis is a list of names."""
    axes.grid(visible=False, axis="y")
    axes.spines["bottom"].set_visible(False)
    axes.spines["left"].set_visible(False)


Draw: TypeAlias = "Callable[[Figure], None]"

# An SVG's unit is a point; 72 of them to the inch make one unit one CSS pixel.
_UNITS_PER_INCH = 72
_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
_DEFINED = re.compile(r'(?:url\(#|href="#)([\w-]+)')
_WORDS = re.compile(r"font-family: [^;\"]+;? ?")
_NOTHING = re.compile(r"\n\s*")


def chart(name: str, draw: Draw, *, width: int, height: int, alt: str, only: str = "") -> Markup:
    """Draw one chart.

    Args:
        name: unique in the page; ids inside the SVG start from it.
        draw: fills the empty figure.
        width: CSS px at full size; the chart shrinks with the page.
        height: CSS px.
        alt: text alternative: what the chart shows.
        only: `wide` or `narrow` to show it only on such screens.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({**RC, "svg.hashsalt": name}):
        size = (width / _UNITS_PER_INCH, height / _UNITS_PER_INCH)
        # Matplotlib writes SVG at 72 dpi; drawing at the same resolution makes its pixels equal CSS pixels.
        figure = Figure(figsize=size, dpi=_UNITS_PER_INCH, layout="constrained")
        draw(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata=_METADATA, transparent=True)
    body = _inline(buffer.getvalue(), prefix=name)
    classes = f"chart only-{only}" if only else "chart"
    return Markup(  # noqa: S704  # Matplotlib escapes its texts, `alt` is escaped here
        f'<svg class="{classes}" role="img" aria-label="{escape(alt)}" viewBox="0 0 {width} {height}" '
        f'style="max-width:{width}px">{body}</svg>'
    )


def responsive(name: str, draw: Draw, *, wide: tuple[int, int], narrow: tuple[int, int], alt: str) -> Markup:
    """Draw a chart in a wide and a narrow size, of which the page shows one, so that text stays readable."""
    return chart(f"{name}-wide", draw, width=wide[0], height=wide[1], alt=alt, only="wide") + chart(
        f"{name}-narrow", draw, width=narrow[0], height=narrow[1], alt=alt, only="narrow"
    )


def _inline(document: str, *, prefix: str) -> str:
    """Return the content of `<svg>` without styles and ids that would affect the rest of the page."""
    body = document[document.index(">", document.index("<svg")) + 1 : document.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    # Inline, Matplotlib's style sheet would apply to every element of the page.
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, flags=re.DOTALL)
    body = body.replace("xlink:href=", "href=")
    used = set(_DEFINED.findall(body))
    body = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in used else "", body)
    for name in used:
        body = re.sub(rf'(?<=[#"]){re.escape(name)}(?=[")])', f"{prefix}-{name}", body)
    body = _WORDS.sub("", body)
    for marker, variable in MARKERS.items():
        body = body.replace(marker, f"var(--{variable})")
    return _NOTHING.sub(" ", body).replace("> <", "><").strip()


Point = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """A rectangle, y upwards, any unit."""

    left: float
    bottom: float
    right: float
    top: float

    def overlaps(self, other: Box) -> bool:
        """Whether the two share any area."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.bottom < other.top
            and other.bottom < self.top
        )

    def within(self, other: Box) -> bool:
        """Whether it lies completely inside `other`."""
        return (
            self.left >= other.left
            and self.right <= other.right
            and self.bottom >= other.bottom
            and self.top <= other.top
        )


# Directions in the order in which a reader expects a label: right, left, above, below, then the corners.
_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
_RINGS = 14
"""Number of distances tried; the largest is enough for about twenty labels."""


def place_labels(
    points: Sequence[Point], sizes: Sequence[Point], *, bounds: Box, blocked: Sequence[Box], gap: float
) -> list[Box]:
    """Place each label at the nearest free position to its point.

    Args:
        points: positions of the points.
        sizes: width and height of each label.
        bounds: area of the chart.
        blocked: areas that labels must not cover (points, whiskers).
        gap: distance between a point and its label.

    Returns:
        One box per point. If no position is free, the nearest one inside the bounds; if none is inside the
        bounds, the nearest one.
    """
    taken = list(blocked)
    placed = []
    for point, size in zip(points, sizes, strict=True):
        tries = [
            _box(point, size, direction, gap + ring * size[1] * 0.6)
            for ring in range(_RINGS)
            for direction in _DIRECTIONS
        ]
        inside = [box for box in tries if box.within(bounds)] or tries
        free = [box for box in inside if not any(box.overlaps(other) for other in taken)]
        box = (free or inside)[0]
        taken.append(box)
        placed.append(box)
    return placed


def _box(point: Point, size: Point, direction: tuple[int, int], distance: float) -> Box:
    center_x = point[0] + direction[0] * (distance + size[0] / 2)
    center_y = point[1] + direction[1] * (distance + size[1] / 2)
    return Box(center_x - size[0] / 2, center_y - size[1] / 2, center_x + size[0] / 2, center_y + size[1] / 2)
