"""What native libraries read from the process before they are loaded, and what they write to it.

Imports nothing but the standard library, so that it can run before everything else.
"""

from __future__ import annotations

import atexit
import faulthandler
import fcntl
import logging
import os
import select
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

PIXEL_LIMIT_VARIABLE = "OPENCV_IO_MAX_IMAGE_PIXELS"
"""OpenCV reads it once, when it is loaded; its own limit is 2³⁰ pixels."""
MOST_ORIGINAL_PIXELS = 89_478_485
"""Largest picture of a data set, width × height: ¼ GiB of RGB, the bound that Pillow warns at."""
# Names of FFmpeg's demultiplexers (`ffmpeg -demuxers`).
_VIDEO_FORMATS = (
    *(
        "mov",
        "mp4",
        "m4a",
        "3gp",
        "3g2",
        "mj2",
        "matroska",
        "webm",
        "avi",
        "mpegts",
        "mpeg",
        "asf",
        "flv",
        "ogg",
    ),
    *("mxf", "gif"),
)
_STDERR = 2
# Lines that come together belong together, a child's traceback for instance.
_GATHER_S = 0.1
# One record a second, of at most this much: twice the longest traceback of a child process seen here.
_INTERVAL_S = 1.0
_MOST_LINES = 100
_LINE_BYTES = 400
_READ_BYTES = 64 * 1024
# Linux' limit for processes without privileges (/proc/sys/fs/pipe-max-size).
_PIPE_BYTES = 1024 * 1024

_log = logging.getLogger(__name__)


def limit_opencv(max_pixels: int) -> None:
    """Let OpenCV itself refuse larger pictures; works only before `cv2` is imported.

    The second line behind `serving.contract.check_header`: it holds where OpenCV's decoders read another size
    than the header's reader does.
    """
    os.environ[PIXEL_LIMIT_VARIABLE] = str(max_pixels)


def limit_ffmpeg() -> None:
    """Let OpenCV's FFmpeg open containers of video in local files only; it counts from the next file on.

    FFmpeg also reads playlists, pictures and addresses: a playlist that is called `clip.mp4` would have it
    fetch what the playlist names (https://ffmpeg.org/ffmpeg-protocols.html, `protocol_whitelist`).
    """
    allowed = {"protocol_whitelist": "file", "format_whitelist": ",".join(_VIDEO_FORMATS)}
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = "|".join(f"{key};{value}" for key, value in allowed.items())


def quiet_ffmpeg() -> None:
    """Keep OpenCV and FFmpeg from writing to standard error; works only before `cv2` is imported.

    What is wrong with a file is in the error that its reader raises.
    """
    os.environ["OPENCV_LOG_LEVEL"] = "SILENT"
    # libavutil/log.h: AV_LOG_QUIET.
    os.environ["OPENCV_FFMPEG_LOGLEVEL"] = "-8"


@contextmanager
def silent_native_code() -> Iterator[None]:
    """Discard what native code of this process writes to standard error, and Python too, for a moment."""
    kept = os.dup(_STDERR)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, _STDERR)
        yield
    finally:
        os.dup2(kept, _STDERR)
        os.close(kept)
        os.close(nowhere)


class ErrorOutput:
    """Standard error of this process: native code and child processes write into the log, Python past it.

    File descriptor 2 becomes a pipe whose lines a thread hands to the logger `serving.libraries`, at most one
    record a second with the number of lines that it leaves out. `sys.stderr` and `faulthandler` get the
    descriptor that was there before: the log's own lines, uncaught exceptions and crashes do not depend on
    the thread.

    The pipe does not block: native code may write while it holds the interpreter's lock, without which the
    thread cannot read. What finds the pipe full (1 MiB) is lost uncounted.
    """

    def __init__(self) -> None:
        """Take file descriptor 2."""
        sys.stderr.flush()
        self._real = os.dup(_STDERR)
        self.stream: TextIO = os.fdopen(
            os.dup(_STDERR), "w", buffering=1, encoding="utf-8", errors="backslashreplace"
        )
        """What was standard error before."""
        self._reading, writing = os.pipe()
        if sys.platform == "linux":
            # Not allowed where one user's pipes are large already; the usual 64 kB do as well.
            with suppress(OSError):
                fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        os.set_blocking(writing, False)
        os.set_blocking(self._reading, False)
        os.dup2(writing, _STDERR)
        os.close(writing)
        sys.stderr = self.stream
        faulthandler.enable(self.stream)
        self._lines = _Lines()
        self._lock = threading.Lock()
        threading.Thread(target=self._run, name="stderr", daemon=True).start()
        atexit.register(self.release)

    def release(self) -> None:
        """Give file descriptor 2 back and log what was written until now; again, it does nothing."""
        os.dup2(self._real, _STDERR)
        while self._read():
            pass
        with self._lock:
            self._lines.log()

    def _run(self) -> None:
        arrives = select.poll()
        arrives.register(self._reading, select.POLLIN)
        due = 0.0
        while True:
            arrives.poll(None if self._lines.is_empty else max(0.0, due - time.monotonic()) * 1000)
            was_empty = self._lines.is_empty
            if self._read() is None:
                break
            now = time.monotonic()
            if was_empty:
                due = max(due, now + _GATHER_S)
            elif now >= due:
                with self._lock:
                    self._lines.log()
                due = now + _INTERVAL_S
        with self._lock:
            self._lines.log()

    def _read(self) -> int | None:
        """Read what the pipe holds; return the number of bytes, None once every writer has closed it."""
        with self._lock:
            try:
                data = os.read(self._reading, _READ_BYTES)
            except BlockingIOError:
                return 0
            self._lines.add(data)
            return len(data) or None


class _Lines:
    """Lines for the next record: each different one once, and how many there were."""

    def __init__(self) -> None:
        self._kept: dict[bytes, int] = {}
        self._part = b""
        self._count = 0

    @property
    def is_empty(self) -> bool:
        return not (self._count or self._part)

    def add(self, data: bytes) -> None:
        """Take bytes as they came."""
        *lines, part = data.split(b"\n")
        for line in lines:
            self._take(self._part + line)
            self._part = b""
        self._part = (self._part + part)[:_LINE_BYTES]

    def log(self) -> None:
        """Log what was taken, if there was something."""
        if self._part:
            self._take(self._part)
        if self._count:
            shown = [
                line.decode(errors="backslashreplace") + (f" ({times} times)" if times > 1 else "")
                for line, times in self._kept.items()
            ]
            left_out = self._count - sum(self._kept.values())
            _log.warning(
                "on standard error: %s", "\n".join(shown), extra={"lines": self._count, "dropped": left_out}
            )
        self._kept, self._part, self._count = {}, b"", 0

    def _take(self, line: bytes) -> None:
        line = line[:_LINE_BYTES].rstrip()
        if not line:
            return
        self._count += 1
        if line in self._kept or len(self._kept) < _MOST_LINES:
            self._kept[line] = self._kept.get(line, 0) + 1


_output: ErrorOutput | None = None


def take_error_output() -> None:
    """Have native code's lines on standard error logged; once for each process, before its log is set up."""
    global _output
    if _output is None:
        _output = ErrorOutput()


def release_error_output() -> None:
    """Log what was written until now; later lines go to standard error as they are."""
    if _output is not None:
        _output.release()
