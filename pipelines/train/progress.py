"""Progress of a training: one updated line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TextIO

_BAR = 24
# An updated line need not change faster than people read; a log needs few lines.
_TERMINAL_S, _PLAIN_S = 0.2, 30.0


class Progress:
    """Images per second and time left, over all epochs of a run."""

    def __init__(self, *, title: str, images_per_step: int, stream: TextIO | None = None) -> None:
        """Create the progress before the first epoch.

        Args:
            title: beginning of every line.
            images_per_step: pictures of one step.
            stream: where to write; standard output.
        """
        self._title = title
        self._images = images_per_step
        self._stream = stream or sys.stdout
        self._moving = self._stream.isatty()
        self._label = ""
        self._steps = self._done = self._to_come = 0
        self._started = self._shown = self._trained = 0.0
        self._past_steps, self._past_s = 0, 0.0

    def start(self, label: str, *, steps: int, to_come: int) -> None:
        """An epoch of `steps` steps begins; `to_come` more follow after it at most."""
        self._label, self._steps, self._done, self._to_come = label, steps, 0, to_come
        self._started = self._shown = time.monotonic()

    def is_due(self) -> bool:
        """Whether the next `step` may write, so that its loss is worth fetching."""
        return time.monotonic() - self._shown >= (_TERMINAL_S if self._moving else _PLAIN_S)

    def step(self, loss: float) -> None:
        """One more step is done; `loss` is the epoch's mean so far."""
        self._done += 1
        if self.is_due():
            self._shown = time.monotonic()
            self._write(self._status(self._shown - self._started, loss))

    def trained(self) -> float:
        """The epoch's last step is done; returns its images per second."""
        self._trained = time.monotonic()
        return self._steps * self._images / (self._trained - self._started)

    def finish(self, text: str) -> None:
        """Validation is finished too; `text` has its results."""
        self._past_steps += self._steps
        self._past_s += time.monotonic() - self._started
        speed = self._steps * self._images / (self._trained - self._started)
        left = self._to_come * self._past_s / self._past_steps
        self.say(f"{self._label}  {speed:,.0f} images/s  {clock(left)} left  {text}")

    def say(self, text: str) -> None:
        """A line of its own."""
        self._write(text, last=True)

    def _status(self, spent: float, loss: float) -> str:
        share = self._done / self._steps
        pace = (self._past_s + spent) / (self._past_steps + self._done)
        left = (self._to_come + self._steps - self._done) * pace
        bar = "█" * int(share * _BAR) + "░" * (_BAR - int(share * _BAR))
        speed = f"{self._done * self._images / spent:,.0f} images/s"
        return f"{self._label} {bar} {share:4.0%}  {speed}  {clock(left)} left  loss {loss:.3f}"

    def _write(self, text: str, *, last: bool = False) -> None:
        line = f"{self._title}  {text}"
        if self._moving:
            self._stream.write(f"\r\x1b[2K{line}" + ("\n" if last else ""))
        else:
            self._stream.write(line + "\n")
        self._stream.flush()


def clock(seconds: float) -> str:
    """A duration as m:ss or h:mm:ss."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
