"""Video files to frames: rates, rotation, cut files, and files that are not videos."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from docs.example_clip import write_clip
from serving.errors.operation import VideoUnreadable
from serving.score.video.clip import FALLBACK_RATE, Clip
from tests.support.mp4 import put_index_first, rotate, set_durations

WIDTH, HEIGHT, COUNT, RATE = 128, 96, 40, 20.0
MANY = 10_000_000
FORMATS = {"clip.mp4": "mp4v", "clip.avi": "MJPG", "clip.webm": "VP90", "clip.mkv": "VP80"}


BITS, BIT_PX = 6, 16


def frame(number: int) -> NDArray[np.uint8]:
    """A frame with its number in black and white squares below; the left half of the top is red."""
    picture = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    picture[: HEIGHT // 2, : WIDTH // 2] = (250, 20, 20)
    for bit in range(BITS):
        white = number >> bit & 1
        picture[-2 * BIT_PX :, bit * BIT_PX : (bit + 1) * BIT_PX] = 230 if white else 20
    return picture


def number_of(image: NDArray[np.uint8]) -> int:
    middles = image[-BIT_PX, BIT_PX // 2 : BITS * BIT_PX : BIT_PX].mean(axis=1)
    return sum(1 << bit for bit in range(BITS) if middles[bit] > 125)


def clip_in(folder: Path, name: str = "clip.mp4", *, count: int = COUNT) -> Path:
    return write_clip(folder / name, map(frame, range(count)), rate=RATE, codec=FORMATS[name])


@pytest.mark.parametrize("name", FORMATS)
def test_every_nth_frame_has_its_number_its_time_and_its_pixels(tmp_path: Path, name: str) -> None:
    clip = Clip.open(clip_in(tmp_path, name), max_pixels=MANY)
    assert (clip.width, clip.height, clip.rate, clip.frames) == (WIDTH, HEIGHT, RATE, COUNT)
    reader = clip.reader()
    frames = list(reader.frames(every=7))
    assert [each.number for each in frames] == [0, 7, 14, 21, 28, 35]
    assert [each.time_s for each in frames] == pytest.approx(
        [each.number / RATE for each in frames], abs=2e-3
    )
    assert [number_of(each.image) for each in frames] == [each.number for each in frames]
    # RGB, and not OpenCV's order.
    red = frames[0].image[HEIGHT // 4, WIDTH // 4].astype(int)
    assert red[0] > 180
    assert max(red[1:]) < 80
    assert (reader.read, reader.missing_s) == (COUNT, 0)
    assert reader.end_s == pytest.approx(COUNT / RATE, abs=2e-3)


def test_skipped_and_chosen_frames_are_those_of_a_whole_reading(tmp_path: Path) -> None:
    clip = Clip.open(clip_in(tmp_path), max_pixels=MANY)
    whole = list(clip.reader().frames(every=3))
    skipped = list(clip.reader().frames(every=3, skip=5))
    assert [each.number for each in skipped] == [each.number for each in whole[5:]]
    assert [each.time_s for each in skipped] == [each.time_s for each in whole[5:]]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(skipped, whole[5:], strict=True))
    reader = clip.reader()
    chosen = list(reader.frames(only={3, 21}))
    assert [each.number for each in chosen] == [3, 21]
    assert np.array_equal(chosen[1].image, whole[7].image)
    assert reader.read == 22


def test_times_are_those_of_the_file_when_its_rate_varies(tmp_path: Path) -> None:
    path = clip_in(tmp_path)
    durations = [0.05] * 10 + [0.5] * 4 + [0.025] * 26
    set_durations(path, durations)
    reader = Clip.open(path, max_pixels=MANY).reader()
    times = [each.time_s for each in reader.frames()]
    assert times == pytest.approx([0.0, *np.cumsum(durations)[:-1]], abs=1e-3)
    assert reader.missing_s == 0


@pytest.mark.parametrize(
    ("degrees", "corner"), [(90, (0, 1)), (180, (1, 1)), (270, (1, 0))], ids=["90", "180", "270"]
)
def test_frames_of_a_turned_file_are_upright(tmp_path: Path, degrees: int, corner: tuple[int, int]) -> None:
    path = clip_in(tmp_path)
    rotate(path, degrees)
    clip = Clip.open(path, max_pixels=MANY)
    image = next(clip.reader().frames()).image
    size = (WIDTH, HEIGHT) if degrees == 180 else (HEIGHT, WIDTH)
    assert (clip.width, clip.height) == size
    assert image.shape == (size[1], size[0], 3)
    # What was at the top left is now at the corner (row, column) that the turn takes it to.
    row, column = (int(side * (0.25 + 0.5 * at)) for side, at in zip(image.shape[:2], corner, strict=True))
    assert image[row, column].argmax() == 0
    assert int(image[row, column, 0]) - int(image[row, column, 1]) > 100


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_a_cut_file_gives_what_it_has_and_says_what_is_missing(tmp_path: Path, name: str) -> None:
    path = clip_in(tmp_path, name)
    if name.endswith(".mp4"):
        put_index_first(path)
    reader = Clip.open(cut(path, 0.6), max_pixels=MANY).reader()
    numbers = [number_of(each.image) for each in reader.frames()]
    assert 10 < reader.read < COUNT
    # FFmpeg may give the last frame, which is damaged.
    assert numbers[:-1] == list(range(reader.read - 1))
    assert reader.missing_s == pytest.approx((COUNT - reader.read) / RATE, abs=0.05)


def test_a_cut_mp4_without_its_index_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(VideoUnreadable) as caught:
        Clip.open(cut(clip_in(tmp_path), 0.6), max_pixels=MANY)
    assert "cut off" in caught.value.reason


def sound() -> bytes:
    samples = np.zeros(8000, "<i2").tobytes()
    head = b"WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0data"
    body = head + len(samples).to_bytes(4, "little") + samples
    return b"RIFF" + len(body).to_bytes(4, "little") + body


NO_VIDEOS = {
    "empty.mp4": b"",
    "text.mp4": b"no video\n" * 100,
    "picture.png": cv2.imencode(".png", np.zeros((40, 40, 3), np.uint8))[1].tobytes(),
    "sound.wav": sound(),
    "zeros.avi": bytes(5000),
}


@pytest.mark.parametrize("name", NO_VIDEOS)
def test_what_is_not_a_video_is_one_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(NO_VIDEOS[name])
    with pytest.raises(VideoUnreadable) as caught:
        Clip.open(path, max_pixels=MANY)
    assert caught.value.path == path
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_the_same_error(tmp_path: Path) -> None:
    with pytest.raises(VideoUnreadable) as caught:
        Clip.open(tmp_path / "absent.mp4", max_pixels=MANY)
    assert "No such file" in caught.value.reason


def test_frames_that_are_too_large_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    path = clip_in(tmp_path)
    Clip.open(path, max_pixels=WIDTH * HEIGHT)
    with pytest.raises(VideoUnreadable) as caught:
        Clip.open(path, max_pixels=WIDTH * HEIGHT - 1)
    assert f"{WIDTH}×{HEIGHT}" in caught.value.reason


@contextmanager
def listening() -> Iterator[tuple[str, list[str]]]:
    """A server that notes what is asked of it."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.05))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["list.m3u8", "clip.mp4", "list.ffconcat"])
def test_a_list_of_other_files_is_not_followed(tmp_path: Path, name: str) -> None:
    clip = clip_in(tmp_path)
    path = tmp_path / "lists" / name
    path.parent.mkdir()
    with listening() as (address, asked):
        for place in (f"{address}/clip.mp4", str(clip)):
            text = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{place}\n#EXT-X-ENDLIST\n"
            path.write_text(f"ffconcat version 1.0\nfile '{place}'\n" if "concat" in name else text)
            with pytest.raises(VideoUnreadable):
                Clip.open(path, max_pixels=MANY)
    assert not asked


def test_a_name_with_a_pattern_or_a_scheme_is_the_name_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written = clip_in(tmp_path)
    for name in ("concat:a|b.mp4", "clip_%02d.mp4", "-i.mp4"):
        Path(name).write_bytes(written.read_bytes())
        assert Clip.open(Path(name), max_pixels=MANY).frames == COUNT


def test_a_rate_that_is_a_time_base_is_not_taken(tmp_path: Path) -> None:
    """A file of one frame has no rate worth the name."""
    path = write_clip(tmp_path / "clip.mp4", iter([frame(0)]), rate=1000.0)
    clip = Clip.open(path, max_pixels=MANY)
    assert clip.rate == FALLBACK_RATE
    reader = clip.reader()
    assert [each.time_s for each in reader.frames()] == [0.0]
    assert reader.end_s == pytest.approx(1 / FALLBACK_RATE)


def test_nothing_is_written_to_standard_error(tmp_path: Path) -> None:
    path = cut(clip_in(tmp_path), 0.5)
    program = (
        "import sys; from serving.libraries import quiet_ffmpeg; quiet_ffmpeg()\n"
        "from pathlib import Path; from serving.score.video.clip import Clip\n"
        "from serving.errors.operation import VideoUnreadable\n"
        "try: Clip.open(Path(sys.argv[1]), max_pixels=10**6)\n"
        "except VideoUnreadable: print('refused')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("refused\n", "")
