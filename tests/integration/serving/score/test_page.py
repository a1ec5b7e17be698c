"""The page of a timeline and the annotated video: what they show, and that they need nothing else."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from docs.example_clip import ACTORS, HEIGHT, RATE, WIDTH, draw_frames, write_clip
from serving.detection.labels import HUES, hue_of
from serving.errors.operation import ScoringRefused, VideoUnwritable
from serving.score.video.annotation import MAX_SIDE_PX, annotated_frames, write_annotated
from serving.score.video.clip import Clip
from serving.score.video.page import write_page
from serving.score.video.scoring import ClipOptions, score_clip
from serving.score.video.timeline import Timeline
from tests.support.axe import barriers
from tests.support.browser import WAIT_MS, chromium
from tests.support.clips import clip_scorer, live_model, recorded_model
from tests.support.mp4 import set_durations

MANY = 10_000_000
DURATION_S = 4.0
PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    write_clip(folder / "a <clip> & more.mp4", draw_frames(ACTORS, DURATION_S))
    return folder


@pytest.fixture(scope="module")
def clip(place: Path) -> Clip:
    return Clip.open(place / "a <clip> & more.mp4", max_pixels=MANY)


@pytest.fixture(scope="module")
def timeline(place: Path, clip: Clip) -> Timeline:
    scorer = clip_scorer(live_model(recorded_model(place / "model")))
    return score_clip(scorer, clip, place / "timeline.parquet", ClipOptions())


@pytest.fixture(scope="module")
def annotated(place: Path, clip: Clip, timeline: Timeline) -> Path:
    write_annotated(timeline, clip, place / "an notated.webm")
    return place / "an notated.webm"


@pytest.fixture(scope="module")
def html(place: Path, clip: Clip, timeline: Timeline, annotated: Path) -> Path:
    write_page(timeline, clip, place / "timeline.html", video=annotated)
    return place / "timeline.html"


class Elements(HTMLParser):
    """All elements with their attributes, and all addresses."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


# The page


def test_the_page_names_no_other_file_but_the_video(
    html: Path, place: Path, clip: Clip, timeline: Timeline
) -> None:
    text = html.read_text(encoding="utf-8")
    addresses = re.findall(r"""(?:src|href|url|@import)\s*[=(]\s*["']?([^"')\s>]+)""", text)
    assert [each for each in addresses if not each.startswith("data:image/jpeg;base64,")] == [
        "an%20notated.webm"
    ]
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text
    assert "<clip>" not in text
    write_page(timeline, clip, place / "alone.html")
    alone = Elements((place / "alone.html").read_text(encoding="utf-8"))
    assert (alone.of("video"), alone.of("script")) == ([], [])


def test_each_track_has_a_picture_areas_and_a_table(html: Path, timeline: Timeline) -> None:
    elements, classes = Elements(html.read_text(encoding="utf-8")), timeline.facts.classes
    assert [image["alt"] for image in elements.of("img")] == ["Face 1", "Face 2"]
    areas = [path["data-hue"] for path in elements.of("path") if "data-hue" in path]
    assert areas == [hue_of(name, classes) for name in classes] * 2
    assert len(elements.of("table")) == len(elements.of("svg")) == 2
    for svg in elements.of("svg"):
        assert svg["role"] == "img"
        assert "Probabilities of face" in (svg["aria-label"] or "")


def test_areas_are_the_smoothed_probabilities_at_their_times(html: Path, timeline: Timeline) -> None:
    """Of the first track: read back from the drawing, 1000 wide and 100 high."""
    text = html.read_text(encoding="utf-8")
    paths = re.findall(r'<path data-hue="\w+" d="M([^"]+)Z"', text)[: len(timeline.facts.classes)]
    rows = [face for face in timeline.faces() if face.track == 1]
    drawn = np.array(
        [[[float(each) for each in point.split()] for point in path.split("L")] for path in paths]
    )
    upper, lower = drawn[:, : len(rows) + 2], drawn[:, len(rows) + 2 :][:, ::-1]
    times = upper[0, 1:-1, 0] * timeline.facts.duration_s / 1000
    assert times == pytest.approx([face.time_s for face in rows], abs=1e-3)
    heights = (lower[:, 1:-1, 1] - upper[:, 1:-1, 1]).T / 100
    assert heights == pytest.approx(np.array([face.smoothed for face in rows]), abs=2e-3)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("chromium")) as started:
        yield started


def opened(browser: Browser, html: Path, **options: Any) -> Page:
    page = browser.new_context(**options).new_page()
    page.goto(html.as_uri())
    return page


@pytest.mark.parametrize("options", [{}, {"color_scheme": "dark"}, PHONE], ids=["light", "dark", "phone"])
def test_the_page_has_no_barriers_fits_and_asks_for_nothing(
    browser: Browser, html: Path, options: dict[str, Any]
) -> None:
    page = browser.new_context(**options).new_page()
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(html.as_uri())
    for summary in page.locator("summary").all():
        summary.click()
    assert barriers(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert {url for url in asked if not url.startswith("data:")} <= {
        html.as_uri(), (html.parent / "an notated.webm").as_uri()
    }  # fmt: skip
    assert complaints == []
    page.context.close()


def wait_for(page: Page, condition: str) -> None:
    """Playwright's own waiting needs `eval`, which the page's policy forbids."""
    for _ in range(WAIT_MS // 50):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"not reached: {condition}")


def test_a_click_on_a_line_moves_the_video_there(browser: Browser, html: Path) -> None:
    page = opened(browser, html)
    wait_for(page, "document.querySelector('video').readyState >= 1")
    assert page.evaluate("document.querySelector('video').duration") == pytest.approx(DURATION_S, abs=0.1)
    plot = page.locator(".plot").first
    box = plot.bounding_box()
    assert box is not None
    plot.click(position={"x": box["width"] / 4, "y": 10})
    wait_for(page, "Math.abs(document.querySelector('video').currentTime - 1) < 0.05")
    wait_for(page, "Math.abs(parseFloat(document.querySelector('.cursor').style.left) - 25) < 1.5")
    page.context.close()


def test_a_page_that_cannot_be_written_is_one_error(clip: Clip, timeline: Timeline, tmp_path: Path) -> None:
    with pytest.raises(ScoringRefused, match="No such file"):
        write_page(timeline, clip, tmp_path / "nowhere" / "timeline.html")


# The video


def test_the_annotated_video_plays_as_the_clip_and_shows_its_boxes(
    annotated: Path, clip: Clip, timeline: Timeline
) -> None:
    shown = Clip.open(annotated, max_pixels=MANY)
    assert (shown.width, shown.height, shown.rate) == (WIDTH, HEIGHT, RATE)
    assert shown.frames == DURATION_S * RATE
    faces = {face.frame: face for face in timeline.faces() if face.track == 1}
    number = sorted(faces)[10]
    (drawn,), (plain,) = (list(one.reader().frames(only={number})) for one in (shown, clip))
    left, top, width, height = faces[number].box
    changed = np.abs(drawn.image.astype(int) - plain.image).max(axis=2) > 60
    corner = changed[top - 3 : top + 4, left : left + width // 5]
    assert corner.any(axis=0).mean() > 0.9
    # Inside of the box the face is as it was.
    assert changed[top + 10 : top + height - 10, left + 10 : left + width - 10].mean() < 0.02
    # A label with the emotion's colour is above it.
    hue = HUES[hue_of(faces[number].emotion, timeline.facts.classes)]
    label = drawn.image[top - 30 : top, left : left + width].astype(int)
    assert (np.abs(label - list(bytes.fromhex(hue[1:]))).max(axis=2) < 40).sum() > 30


def test_between_two_scored_frames_boxes_move_evenly(clip: Clip, timeline: Timeline) -> None:
    found = {
        frame.number: {face.track: face.box for face in faces}
        for frame, faces in annotated_frames(clip.reader().frames(), timeline.faces(), timeline.facts)
    }
    assert len(found) == DURATION_S * RATE
    rows = {(face.frame, face.track): np.array(face.box, float) for face in timeline.faces()}
    compared = 0
    for (number, track), box in rows.items():
        later = rows.get((number + 5, track))
        assert found[number][track] == tuple(box)
        if later is not None:
            compared += 1
            for step in range(1, 5):
                expected = box + step / 5 * (later - box)
                assert np.array(found[number + step][track]) == pytest.approx(expected, abs=0.51)
    assert compared > 30


def test_a_clip_of_a_variable_rate_plays_as_long_as_it_is(tmp_path: Path, place: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", draw_frames((), 2.0))
    set_durations(path, [0.04] * 10 + [0.4] * 5 + [0.02] * 35)
    clip = Clip.open(path, max_pixels=MANY)
    scorer = clip_scorer(live_model(place / "model"))
    timeline = score_clip(scorer, clip, tmp_path / "timeline.parquet", ClipOptions())
    write_annotated(timeline, clip, tmp_path / "annotated.webm")
    shown = Clip.open(tmp_path / "annotated.webm", max_pixels=MANY)
    assert shown.duration_s == pytest.approx(3.1, abs=0.1)


def test_large_frames_are_shrunk(tmp_path: Path, place: Path) -> None:
    large = np.full((1442, 1922, 3), 120, np.uint8)
    path = write_clip(tmp_path / "clip.mp4", iter([large] * 3))
    clip = Clip.open(path, max_pixels=MANY)
    scorer = clip_scorer(live_model(place / "model"))
    timeline = score_clip(scorer, clip, tmp_path / "timeline.parquet", ClipOptions())
    write_annotated(timeline, clip, tmp_path / "annotated.webm")
    shown = Clip.open(tmp_path / "annotated.webm", max_pixels=MANY)
    assert (shown.width, shown.height) == (MAX_SIDE_PX, 960)


@pytest.mark.parametrize("name", ["annotated.mp4", "annotated", "nowhere/annotated.webm"])
def test_a_video_that_cannot_be_written_is_one_error(
    tmp_path: Path, clip: Clip, timeline: Timeline, name: str
) -> None:
    with pytest.raises(VideoUnwritable) as caught:
        write_annotated(timeline, clip, tmp_path / name)
    assert caught.value.path == tmp_path / name
    assert not list(tmp_path.iterdir())


def test_the_clip_is_needed_for_pictures(tmp_path: Path, place: Path, timeline: Timeline) -> None:
    """A page of a clip that was removed meanwhile is one error."""
    path = shutil.copy(place / "a <clip> & more.mp4", tmp_path / "clip.mp4")
    clip = Clip.open(Path(path), max_pixels=MANY)
    Path(path).unlink()
    with pytest.raises(ScoringRefused):
        write_page(timeline, clip, tmp_path / "timeline.html")
