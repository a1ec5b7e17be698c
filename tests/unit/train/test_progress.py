"""What a person sees while a network trains."""

from __future__ import annotations

import io

import pytest

from pipelines.train import progress
from pipelines.train.progress import Progress, clock


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """A clock that the test advances."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    fake = Clock()
    monkeypatch.setattr(progress, "time", fake)
    return fake


def run(stream: io.StringIO, time: Clock) -> None:
    """Two epochs of four steps of 32 images, half a second each, one second of validation."""
    bar = Progress(title="lenet", images_per_step=32, stream=stream)
    for epoch in (1, 2):
        bar.start(f"epoch {epoch}", steps=4, to_come=4 * (2 - epoch))
        for _ in range(4):
            time.now += 0.5
            bar.step(1.25)
        assert bar.trained() == pytest.approx(64)
        time.now += 1
        bar.finish("loss 1.250")


def test_a_log_gets_one_line_per_epoch(time: Clock) -> None:
    stream = io.StringIO()
    run(stream, time)
    assert stream.getvalue().splitlines() == [
        "lenet  epoch 1  64 images/s  0:03 left  loss 1.250",
        "lenet  epoch 2  64 images/s  0:00 left  loss 1.250",
    ]


def test_a_terminal_gets_one_line_that_moves(time: Clock) -> None:
    stream = Terminal()
    run(stream, time)
    text = stream.getvalue()
    assert text.count("\n") == 2
    assert "\r\x1b[2Klenet  epoch 1 ████████████░░░░░░░░░░░░  50%  64 images/s  0:03 left  loss 1.250" in text


def test_a_long_epoch_gives_a_log_a_sign_of_life_now_and_then(time: Clock) -> None:
    stream = io.StringIO()
    bar = Progress(title="lenet", images_per_step=1, stream=stream)
    bar.start("epoch 1", steps=100, to_come=0)
    for _ in range(100):
        time.now += 1
        bar.step(0.5)
    assert stream.getvalue().count("\n") == 3


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3600, "1:00:00"), (-1, "0:00")]
)
def test_durations_read_like_a_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
