"""A video file to upright frames with their times, through the FFmpeg that OpenCV brings.

    clip = Clip.open(Path("clip.mp4"), max_pixels=32_000_000)
    reader = clip.reader()
    for frame in reader.frames(every=5):
        …
    reader.missing_s

Frames are read in order and never sought: a jump to a frame is not exact with all codecs, and a run that was
killed must come to the same frames.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from serving.contract import Image
from serving.errors.operation import VideoUnreadable
from serving.libraries import limit_ffmpeg

FALLBACK_RATE = 25.0
"""Frames per second where the file does not say: what FFmpeg takes for raw streams (`-framerate`)."""
# Rates above it are a time base, not a rate: 90,000 of MPEG transport streams, 1,000 of Matroska.
_HIGHEST_RATE = 480.0
# The duration of a header is rounded, or the sound's, which may be somewhat longer than the picture's.
_MISSING_SHARE, _MISSING_FRAMES = 0.01, 2.0
_READABLE = "expected a video that FFmpeg reads, such as MP4, WebM, MKV, MOV or AVI"


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """One frame of a clip."""

    number: int
    """From 0, of all frames."""
    time_s: float
    """When it is shown, seconds since the first frame."""
    image: Image
    """Upright, uint8 [height, width, 3], RGB."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A video file that was opened once and has a frame."""

    path: Path
    width: int
    """Columns of an upright frame, px."""
    height: int
    """Rows of an upright frame, px."""
    rate: float
    """Frames per second by the file; of a file with a variable rate, its mean or its largest."""
    frames: int | None
    """Number of frames by the file's header; None: it does not say."""
    max_pixels: int

    @classmethod
    def open(cls, path: Path, *, max_pixels: int) -> Clip:
        """Read the header and the first frame.

        Args:
            path: path of the file.
            max_pixels: width × height above which the file is refused.

        Raises:
            VideoUnreadable: it cannot be read, is empty or not a video, none of its frames can be decoded, or
                they are too large.
        """
        capture = _captured(path)
        try:
            _check_size(path, capture, max_pixels)
            read, image = capture.read()
            if not read:
                raise VideoUnreadable(
                    path=path, reason="none of its frames can be decoded", expected=_READABLE
                )
            count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
            return cls(
                path=path,
                width=image.shape[1],
                height=image.shape[0],
                rate=_rate(capture.get(cv2.CAP_PROP_FPS)),
                frames=round(count) if math.isfinite(count) and count >= 1 else None,
                max_pixels=max_pixels,
            )
        finally:
            capture.release()

    @property
    def duration_s(self) -> float | None:
        """Seconds by the file's header; None: it does not say."""
        return None if self.frames is None else self.frames / self.rate

    def reader(self) -> ClipReader:
        """Return a new reader at the first frame."""
        return ClipReader(self)


class ClipReader:
    """Reads a clip once, from its first frame on."""

    def __init__(self, clip: Clip) -> None:
        self.clip = clip
        self.read = 0
        """Number of frames read until now."""
        self.time_s = 0.0
        """Time of the last one, seconds since the first."""

    @property
    def end_s(self) -> float:
        """When the last frame read ends, seconds: its time and the duration of one frame."""
        return self.time_s + 1 / self.clip.rate if self.read else 0.0

    @property
    def missing_s(self) -> float:
        """Seconds that the header promises beyond the last frame; 0 once a clip was read to its end."""
        promised = self.clip.duration_s
        if promised is None:
            return 0.0
        missing = promised - self.end_s
        tolerated = max(promised * _MISSING_SHARE, _MISSING_FRAMES / self.clip.rate)
        # With a variable rate the duration is an estimate: what counts then is that frames are missing too.
        is_short = self.clip.frames is not None and self.read < self.clip.frames - _MISSING_FRAMES
        return missing if missing > tolerated and is_short else 0.0

    def frames(
        self, *, every: int = 1, skip: int = 0, only: Collection[int] | None = None
    ) -> Iterator[Frame]:
        """Yield every n-th frame; it can be called once.

        Args:
            every: n.
            skip: number of such frames that are not yielded, from the start on.
            only: numbers of the frames that are yielded; reading ends after the last of them.

        Raises:
            VideoUnreadable: a frame is larger than allowed, or the file cannot be opened any more.
        """
        last = max(only, default=-1) if only is not None else None
        capture = _captured(self.clip.path)
        try:
            start_s: float | None = None
            while (last is None or self.read <= last) and capture.grab():
                number, stamp_s = self.read, capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3
                start_s = stamp_s if start_s is None else start_s
                self.time_s = self._later(stamp_s - start_s)
                self.read += 1
                if number % every or number < skip * every or (only is not None and number not in only):
                    continue
                image = self._image(capture)
                if image is not None:
                    yield Frame(number=number, time_s=self.time_s, image=image)
        finally:
            capture.release()

    def _later(self, stamp_s: float) -> float:
        """Return the time of the next frame: its stamp; where that is absent or not later, one frame on."""
        if not self.read:
            return 0.0
        if math.isfinite(stamp_s) and stamp_s > self.time_s:
            return stamp_s
        return self.time_s + 1 / self.clip.rate

    def _image(self, capture: cv2.VideoCapture) -> Image | None:
        clip = self.clip
        retrieved, image = capture.retrieve()
        if not retrieved:
            return None
        if image.shape[0] * image.shape[1] > clip.max_pixels:
            raise _too_large(clip.path, image.shape[1], image.shape[0], clip.max_pixels)
        if image.shape[:2] != (clip.height, clip.width):
            # A stream may change its size; boxes are in px of the first frame.
            image = cv2.resize(image, (clip.width, clip.height), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def _captured(path: Path) -> cv2.VideoCapture:
    """Open a file with FFmpeg; its absolute path is never taken for an address or a pattern of names."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise VideoUnreadable(path=path, reason=error.strerror or str(error), expected=_READABLE) from error
    if not head:
        raise VideoUnreadable(path=path, reason="it has 0 bytes", expected=_READABLE)
    limit_ffmpeg()
    capture = cv2.VideoCapture()
    opened = False
    with suppress(cv2.error):
        opened = capture.open(str(path.resolve()), cv2.CAP_FFMPEG)
    if not opened:
        raise VideoUnreadable(path=path, reason=_without_stream(head), expected=_READABLE)
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    return capture


def _without_stream(head: bytes) -> str:
    if head[4:] == b"ftyp":
        return (
            "it begins as an MP4 without an index (moov), which most files have at their end: it is cut off"
        )
    return f"no video stream was found in it (it begins with {head.hex(' ')})"


def _check_size(path: Path, capture: cv2.VideoCapture, max_pixels: int) -> None:
    width, height = (int(capture.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    if width * height > max_pixels:
        raise _too_large(path, width, height, max_pixels)


def _too_large(path: Path, width: int, height: int, max_pixels: int) -> VideoUnreadable:
    return VideoUnreadable(
        path=path,
        reason=f"its frames have {width}×{height} = {width * height} pixels",
        expected=f"at most {max_pixels} (MIEN_MAX_PIXELS)",
    )


def _rate(rate: float) -> float:
    return rate if math.isfinite(rate) and 0 < rate <= _HIGHEST_RATE else FALLBACK_RATE
