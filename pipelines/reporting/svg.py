"""A Matplotlib figure as SVG inside the page: real text in the page's font, colours that follow its theme."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from markupsafe import Markup, escape

from pipelines.reporting.style import MARKERS, RC

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
        width: CSS px at full size; it shrinks with the page.
        height: CSS px.
        alt: what the chart shows, in words.
        only: `wide` or `narrow` to show it on such screens alone.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({**RC, "svg.hashsalt": name}):
        size = (width / _UNITS_PER_INCH, height / _UNITS_PER_INCH)
        # Matplotlib writes SVG at 72 dpi; drawing at it, too, makes its pixels those of the page.
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
    """The same chart twice, so that its words stay readable on a phone; one is shown at a time."""
    return chart(f"{name}-wide", draw, width=wide[0], height=wide[1], alt=alt, only="wide") + chart(
        f"{name}-narrow", draw, width=narrow[0], height=narrow[1], alt=alt, only="narrow"
    )


def _inline(document: str, *, prefix: str) -> str:
    """What stands inside `<svg>`, without what would reach into the page."""
    body = document[document.index(">", document.index("<svg")) + 1 : document.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    # Matplotlib's style sheet holds for every element of the page it stands in.
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
