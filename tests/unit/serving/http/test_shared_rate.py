"""One rate for several processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serving.errors.requests import RateLimited
from serving.http.limits import RATES_FILE, RateLimit, RateLimiter, SharedRateLimit, make_rate
from serving.settings import MULTIPROCESS_VARIABLE, Settings


class Clock:
    """Shows what it is set to, seconds."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def passed(limit: RateLimiter, count: int, client: str = "a") -> int:
    """How many of `count` requests get through."""
    through = 0
    for _ in range(count):
        try:
            limit.take(client)
        except RateLimited:
            continue
        through += 1
    return through


def test_two_workers_have_one_burst_and_one_rate(tmp_path: Path, clock: Clock) -> None:
    first, second = (SharedRateLimit(tmp_path / RATES_FILE, 2.0, 5, clock=clock) for _ in range(2))
    assert passed(first, 3) + passed(second, 10) == 5
    clock.now += 1
    assert passed(second, 10) + passed(first, 10) == 2
    with pytest.raises(RateLimited) as error:
        first.take("a")
    assert error.value.retry_after_s == pytest.approx(0.5)
    clock.now += 60
    assert passed(first, 10) == 5


def test_clients_do_not_hold_each_other_back(tmp_path: Path, clock: Clock) -> None:
    limit = SharedRateLimit(tmp_path / RATES_FILE, 1.0, 2, clock=clock)
    assert [passed(limit, 5, f"client {number}") for number in range(500)] == [2] * 500
    assert passed(limit, 5, "client 0") == 0


def test_more_clients_than_there_is_room_for_forget_the_quiet_ones(tmp_path: Path, clock: Clock) -> None:
    limit = SharedRateLimit(tmp_path / RATES_FILE, 1.0, 1, clock=clock)
    for number in range(30_000):
        clock.now += 1e-6
        assert passed(limit, 1, f"client {number}") == 1
    assert passed(limit, 1, "client 29999") == 0
    assert (tmp_path / RATES_FILE).stat().st_size < 1_000_000


def test_what_an_earlier_boot_left_counts_for_nothing(tmp_path: Path, clock: Clock) -> None:
    assert passed(SharedRateLimit(tmp_path / RATES_FILE, 1.0, 3, clock=clock), 5) == 3
    clock.now = 5.0
    assert passed(SharedRateLimit(tmp_path / RATES_FILE, 1.0, 3, clock=clock), 5) == 3


_WORKER = """
import sys, time
from pathlib import Path
from serving.errors.requests import RateLimited
from serving.http.limits import SharedRateLimit
limit = SharedRateLimit(Path(sys.argv[1]), 50.0, 20)
print("ready", flush=True)
sys.stdin.readline()
through, end = 0, time.monotonic() + 0.5
while time.monotonic() < end:
    try:
        limit.take("a")
        through += 1
    except RateLimited:
        time.sleep(0.001)
print(through, flush=True)
"""


def test_processes_that_ask_at_once_get_no_more_than_the_rate(tmp_path: Path, repository: Path) -> None:
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", _WORKER, str(tmp_path / RATES_FILE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=repository,
        )
        for _ in range(3)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    begun = time.monotonic()
    through = sum(int(worker.communicate("go\n")[0]) for worker in workers)
    assert 20 <= through <= 20 + 50 * (time.monotonic() - begun)


_HOLDER = """
import fcntl, sys
file = open(sys.argv[1])
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.readline()
"""


def test_a_worker_that_is_stopped_does_not_stop_the_others(tmp_path: Path, repository: Path) -> None:
    limit = SharedRateLimit(tmp_path / RATES_FILE, 1.0, 3)
    other = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(tmp_path / RATES_FILE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert other.stdout is not None
        other.stdout.readline()
        os.kill(other.pid, signal.SIGSTOP)
        assert passed(limit, 5) == 3
    finally:
        other.kill()
        other.communicate()


def test_the_settings_and_the_folder_decide(tmp_path: Path) -> None:
    shared = {MULTIPROCESS_VARIABLE: str(tmp_path)}
    assert make_rate(Settings(), shared) is None
    assert isinstance(make_rate(Settings(rate_per_s=1), {}), RateLimit)
    assert isinstance(make_rate(Settings(rate_per_s=1, workers=4), shared), SharedRateLimit)
    # Without a folder each of four workers lets a quarter through.
    alone = make_rate(Settings(rate_per_s=1, rate_burst=8, workers=4), {})
    assert alone is not None
    assert passed(alone, 10) == 2


def test_a_folder_that_cannot_be_used_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    missing = {MULTIPROCESS_VARIABLE: str(tmp_path / "missing")}
    assert isinstance(make_rate(Settings(rate_per_s=1, workers=2), missing), RateLimit)
    assert "workers could not share MIEN_RATE_PER_S" in caplog.text
