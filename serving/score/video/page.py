"""A timeline to one HTML page that needs no other file: a card for each track with its line and a table.

Colours, type and notes are those of the service's page, whose style sheet is copied into the file.
"""

from __future__ import annotations

import base64
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template
from urllib.parse import quote

import cv2
import numpy as np

import serving
from serving.contract import crop_square
from serving.detection.labels import hue_of
from serving.errors.operation import ScoringRefused
from serving.score.video.clip import Clip
from serving.score.video.lines import Stretch, TrackLine, track_lines
from serving.score.video.timeline import ClipFacts, Timeline

LEAST_FACES = 3
"""Shorter tracks are not drawn: SORT's `min_hits` (Bewley et al., 2016), since most are false detections."""
MOST_TRACKS = 60
"""Of more tracks, the longest are drawn."""
_HERE = Path(__file__).resolve().parent
_STYLES = (Path(serving.__file__).resolve().parent / "page" / "css" / "base.css", _HERE / "timeline.css")
# Thumbnails are shown at half of it, sharp on dense screens.
_THUMB_PX, _THUMB_MARGIN, _THUMB_QUALITY = 152, 0.25, 82
_WIDTH, _HEIGHT = 1000, 100
_STEPS_S = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600)
_MOST_TICKS = 7
# Share of the width below which a stretch has no room for its name.
_NARROW = 0.055


def write_page(timeline: Timeline, clip: Clip, path: Path, *, video: Path | None = None) -> None:
    """Write the page of a timeline.

    Args:
        timeline: timeline of the clip.
        clip: the clip, from which a picture of each face is taken.
        path: file that is written.
        video: annotated video that the page plays; None: none.

    Raises:
        ScoringRefused: the file cannot be written.
        VideoUnreadable: the clip cannot be read any more.
    """
    lines = track_lines(timeline.faces(), timeline.facts)
    shown = [line for line in lines if line.faces >= LEAST_FACES]
    shown = sorted(sorted(shown, key=lambda line: -line.faces)[:MOST_TRACKS], key=lambda line: line.number)
    pictures = _thumbnails(clip, shown)
    source = None if video is None else quote(os.path.relpath(video.resolve(), path.parent.resolve()))
    text = _page(timeline.facts, shown, pictures, left_out=len(lines) - len(shown), video=source)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ScoringRefused(f"{path}: {error.strerror or error}; name another file for --html") from error


def _page(
    facts: ClipFacts,
    lines: Sequence[TrackLine],
    pictures: dict[int, str],
    *,
    left_out: int,
    video: str | None,
) -> str:
    css = "\n".join(path.read_text(encoding="utf-8") for path in _STYLES)
    cards = [_card(line, facts, pictures.get(line.number)) for line in lines]
    if left_out:
        tracks = "1 track was" if left_out == 1 else f"{left_out} tracks were"
        cards.append(f'<p class="fine">{tracks} too short to be drawn; the table has all of them.</p>')
    model = f"{facts.model}, version {facts.version}"
    script = "" if video is None else f"<script>{_text('timeline.js')}</script>"
    tag = (
        f'<video class="clip-video" controls preload="metadata" src="{escape(video)}"></video>'
        if video
        else ""
    )
    return Template(_text("timeline.html")).substitute(
        title=escape(facts.clip),
        css=css,
        lead=_lead(facts, lines),
        notes=_notes(facts),
        video=tag,
        duration=f"{facts.duration_s:.6g}",
        legend="".join(
            f'<li data-hue="{hue_of(name, facts.classes)}"><i></i>{escape(name)}</li>'
            for name in facts.classes
        ),
        tracks="\n".join(cards),
        model=escape(model),
        script=script,
    )


def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _lead(facts: ClipFacts, lines: Sequence[TrackLine]) -> str:
    count = len(lines)
    found = "No face was found" if not count else "One face" if count == 1 else f"{count} faces"
    smoothing = (
        f", smoothed over time with a time constant of {facts.time_constant_s:g} s"
        if facts.time_constant_s
        else ""
    )
    height = f" The height of a colour is the probability of its emotion{smoothing}." if count else ""
    return escape(
        f"{found} in {_clock(facts.duration_s)}. "
        f"{facts.scored:,} of {facts.frames:,} frames were scored.{height}"
    )


def _notes(facts: ClipFacts) -> str:
    notes = []
    if facts.missing_s:
        notes.append(
            '<p class="note bad"><strong>The file is truncated or damaged.</strong> '
            f"{_clock(facts.duration_s)} could be read, {_clock(facts.missing_s)} more are missing.</p>"
        )
    if facts.sample:
        notes.append(
            '<p class="note warn"><strong>A demonstration.</strong> The model was trained on drawings and is '
            "not for real faces.</p>"
        )
    return "\n".join(notes)


def _card(line: TrackLine, facts: ClipFacts, picture: str | None) -> str:
    stretches, classes = line.stretches(facts.classes), facts.classes
    shares = _shares(stretches)
    summary = ", ".join(f"{name} {_percent(share)}" for name, share in shares)
    picture = (
        f'<img src="{picture}" alt="Face {line.number}" width="76" height="76">'
        if picture
        else '<div class="no-picture"></div>'
    )
    items = "".join(
        f'<li data-hue="{hue_of(name, classes)}"><i></i><b>{escape(name)}</b> {_percent(share)}</li>'
        for name, share in shares[:4]
    )
    when = f"{_clock(line.begin_s)} – {_clock(line.end_s)}, found in {line.faces:,} frames"
    view = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none"'
    label = escape(f"Probabilities of face {line.number} over time. Most probable: {summary} of the time.")
    return f"""<section class="card line" aria-labelledby="face-{line.number}">
{picture}
<div><header><h2 id="face-{line.number}">Face {line.number}</h2>
<span class="when">{when}</span></header>
<ul class="shares" aria-label="Share of the time">{items}</ul></div>
<figure class="chart"><div class="plot"><svg {view} role="img"
 aria-label="{label}">{_areas(line, facts)}{_rules(facts.duration_s)}</svg></div>
<div class="ribbon" aria-hidden="true">{_ribbon(stretches, facts)}</div>
<div class="axis" aria-hidden="true">{_axis(facts.duration_s)}</div></figure>
<details><summary>Face {line.number} as a table</summary>{_table(stretches)}</details>
</section>"""


def _shares(stretches: Iterable[Stretch]) -> list[tuple[str, float]]:
    """Share of the time in which each emotion is the most probable one, the largest first."""
    found: dict[str, float] = defaultdict(float)
    for stretch in stretches:
        found[stretch.emotion] += stretch.duration_s
    total = sum(found.values()) or 1.0
    return sorted(((name, seconds / total) for name, seconds in found.items()), key=lambda item: -item[1])


def _areas(line: TrackLine, facts: ClipFacts) -> str:
    """Stacked areas of the smoothed probabilities, from the first face to the last."""
    times = np.array([line.begin_s, *line.times_s, line.end_s])
    x = times / facts.duration_s * _WIDTH
    values = np.array([line.means[0], *line.means, line.means[-1]])
    edges = np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)
    y = (1 - np.clip(edges, 0, 1)) * _HEIGHT
    paths = []
    for index, name in enumerate(facts.classes):
        points = [*zip(x, y[:, index + 1], strict=True), *zip(x[::-1], y[::-1, index], strict=True)]
        text = "L".join(f"{across:.1f} {down:.1f}" for across, down in points)
        paths.append(f'<path data-hue="{hue_of(name, facts.classes)}" d="M{text}Z"/>')
    return "".join(paths)


def _rules(duration_s: float) -> str:
    places = (f"{time_s / duration_s * _WIDTH:.1f}" for time_s in _ticks(duration_s)[1:])
    return "".join(f'<path class="tick" d="M{place} 0V{_HEIGHT}"/>' for place in places)


def _ribbon(stretches: Iterable[Stretch], facts: ClipFacts) -> str:
    parts = []
    for each in stretches:
        left, width = each.begin_s / facts.duration_s, each.duration_s / facts.duration_s
        narrow = ' class="narrow"' if width < _NARROW else ""
        title = escape(f"{each.emotion}, {_clock(each.begin_s)} – {_clock(each.end_s)}")
        parts.append(
            f'<span{narrow} data-hue="{hue_of(each.emotion, facts.classes)}" title="{title}" '
            f'style="left:{100 * left:.2f}%;width:{100 * width:.2f}%">{escape(each.emotion)}</span>'
        )
    return "".join(parts)


def _axis(duration_s: float) -> str:
    ticks = _ticks(duration_s)
    near_end = [' class="last"' if time_s > 0.94 * duration_s else "" for time_s in ticks]
    return "".join(
        f'<span{last} style="left:{100 * time_s / duration_s:.2f}%">{_clock(time_s)}</span>'
        for time_s, last in zip(ticks, near_end, strict=True)
    )


def _ticks(duration_s: float) -> list[float]:
    step = next((step for step in _STEPS_S if duration_s / step <= _MOST_TICKS), duration_s)
    return [number * step for number in range(int(duration_s / step) + 1)]


def _table(stretches: Iterable[Stretch]) -> str:
    rows = "".join(
        f"<tr><td>{_clock(each.begin_s, exact=True)}</td><td>{_clock(each.end_s, exact=True)}</td>"
        f'<td>{escape(each.emotion)}</td><td class="n">{_percent(each.probability)}</td></tr>'
        for each in stretches
    )
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Stretches of time"><table><thead><tr>'
        '<th scope="col">from</th><th scope="col">to</th><th scope="col">emotion</th>'
        f'<th scope="col" class="n">mean probability</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _clock(time_s: float, *, exact: bool = False) -> str:
    """A time as people write it: 7.5 s, 1:07, 2:01:07."""
    if time_s < 60:
        return f"{time_s:.1f} s" if exact or time_s % 1 else f"{time_s:.0f} s"
    whole = round(time_s)
    minutes, seconds = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _thumbnails(clip: Clip, lines: Sequence[TrackLine]) -> dict[int, str]:
    """Track → its largest face as a data URI."""
    wanted = defaultdict(list)
    for line in lines:
        wanted[line.largest[0]].append(line)
    found = {}
    for frame in clip.reader().frames(only=wanted.keys()):
        for line in wanted[frame.number]:
            crop = crop_square(frame.image, line.largest[1], margin=_THUMB_MARGIN)
            small = cv2.resize(crop, (_THUMB_PX, _THUMB_PX), interpolation=cv2.INTER_AREA)
            options = [cv2.IMWRITE_JPEG_QUALITY, _THUMB_QUALITY]
            _, data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), options)
            found[line.number] = f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
    return found
