from __future__ import annotations

import re
from typing import Any

import pytest

from pipelines.report import charts
from pipelines.report.charts import chart


def draw(figure: Any) -> None:
    axes = figure.subplots()
    axes.plot([1, 2, 3], [3, 1, 2], "-o", color=charts.ACCENT)
    axes.set(title="5 < 6 & more")


@pytest.fixture(scope="module")
def svg() -> str:
    return chart("one", draw, width=300, height=200, alt='a "line"')


def test_it_says_what_it_shows(svg: str) -> None:
    assert svg.startswith('<svg class="chart" role="img" aria-label="a &#34;line&#34;" viewBox="0 0 300 200"')


def test_colours_are_those_of_the_page(svg: str) -> None:
    assert "var(--accent)" in svg
    assert not re.search(r"#00000\d", svg)


def test_text_stays_text_in_the_font_of_the_page(svg: str) -> None:
    assert "5 &lt; 6 &amp; more" in svg
    assert "font-family" not in svg


def test_nothing_reaches_into_the_page_or_out_of_it(svg: str) -> None:
    assert "<style" not in svg
    assert "://" not in svg
    assert "<metadata" not in svg


def test_every_reference_has_its_target_and_the_name_of_its_chart(svg: str) -> None:
    used = set(re.findall(r'(?:url\(#|href="#)([\w-]+)', svg))
    defined = re.findall(r' id="([^"]+)"', svg)

    assert used == set(defined)
    assert used
    assert all(name.startswith("one-") for name in used)


def test_the_same_chart_is_the_same_text(svg: str) -> None:
    assert chart("one", draw, width=300, height=200, alt='a "line"') == svg
