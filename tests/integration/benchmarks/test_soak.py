"""The soak test on the real service for some seconds; its load on a server that refuses and breaks off."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from benchmarks.soak.load import LoadPlan, command_of
from benchmarks.soak.processes import ANSWERING, OTHER, REGISTRY
from benchmarks.soak.record import Counts, Interval, LoadLine, Tail, VersionChange, from_line, read_record
from tests.support.onnx_models import write_model

PAGE = "before\n\n<!-- benchmark:soak -->\nof the run before\n<!-- /benchmark:soak -->\n\nafter\n"
SECONDS, EVERY_S = 18, 6


@pytest.fixture
def models(tmp_path: Path) -> list[str]:
    return [str(write_model(tmp_path / f"model-{seed}.onnx", seed=seed)) for seed in (1, 2)]


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "docs/page.md"
    path.parent.mkdir()
    path.write_text(PAGE, encoding="utf-8")
    return path


@pytest.fixture
def command(tmp_path: Path, models: list[str], page: Path) -> list[str]:
    (tmp_path / "files").mkdir()
    command = [sys.executable, "-m", "benchmarks.soak", "--load", "0.2", "--sample", "2", "--capacity", "1"]
    command += ["--models", *models, "--folder", str(tmp_path / "files")]
    return [*command, "--json", str(tmp_path / "record.json"), "--docs", str(page)]


def rows(folder: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / "files/service/observations.db")) as connection:
        return connection.execute(query).fetchall()


def test_a_run_with_two_promotions_records_what_the_database_has(
    tmp_path: Path, command: list[str], page: Path
) -> None:
    duration = ["--minutes", str(SECONDS / 60), "--every", str(EVERY_S)]
    done = subprocess.run([*command, *duration], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    record = read_record(tmp_path / "record.json")

    ((stored,),) = rows(tmp_path, "SELECT COUNT(*) FROM observations")
    # Where the machine is too busy, a picture is classified after its deadline: refused and recorded.
    assert 0 < record.pictures.answered <= stored - record.rows_before <= record.pictures.sent
    assert record.pictures.lost == record.feedback.lost == 0
    assert record.pictures.sent == record.pictures.answered + record.pictures.refused
    ((corrected,),) = rows(tmp_path, "SELECT COUNT(*) FROM feedback")
    assert record.feedback.answered == corrected == record.feedback_rows

    # What the answers name is what was written, beside the rows of the measurement of the capacity.
    written = dict(rows(tmp_path, "SELECT model_version, COUNT(*) FROM observations GROUP BY model_version"))
    named = sum((Counter(interval.versions) for interval in record.intervals), Counter())
    assert set(named) == set(record.versions) == {"1", "2"}
    assert sum(named.values()) == record.pictures.answered
    assert sum(written.values()) == stored == record.rows_after
    assert all(named[version] <= count for version, count in written.items())

    assert [swap.version for swap in record.swaps] == ["2", "1"]
    for swap in record.swaps:
        assert swap.named_s is not None
        assert swap.answered_s is not None
        assert swap.answered_s > 0
    switches = rows(tmp_path, "SELECT to_version FROM switches ORDER BY number")
    # The first model and the other one while the capacity is measured, then the two promotions.
    assert [version for (version,) in switches] == ["2", "1", "2", "1"]

    assert len(record.samples) >= SECONDS // 2
    for sample in record.samples:
        roles = {use.role for use in sample.processes}
        assert roles >= {ANSWERING, REGISTRY}
        assert OTHER not in roles
        assert all(use.memory_mib > 10 and use.files > 3 for use in sample.processes)
    assert not record.is_short
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert "of the run before" not in text
    assert (page.parent / "images/benchmark-soak.svg").is_file()


def test_an_interrupt_ends_the_run_in_order_and_leaves_the_page_alone(
    tmp_path: Path, command: list[str], page: Path
) -> None:
    long = [*command, "--minutes", "60"]
    with subprocess.Popen(long, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        # An interval with answers has been counted.
        next(line for line in process.stderr if "p99" in line and "p99 0 ms" not in line)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "**Shorter than asked: " in output
    assert page.read_text(encoding="utf-8") == PAGE
    record = read_record(tmp_path / "record.json")
    assert record.is_short
    assert record.pictures.lost == 0
    ((stored,),) = rows(tmp_path, "SELECT COUNT(*) FROM observations")
    # Where the machine is too busy, a picture is classified after its deadline: refused and recorded.
    assert 0 < record.pictures.answered <= stored - record.rows_before <= record.pictures.sent


class Server(ThreadingHTTPServer):
    """Answers as the service does, refuses and breaks off at regular requests, and counts what it did."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.turn = threading.Lock()
        self.done: Counter[str] = Counter()
        self.corrected: list[str] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        with self.server.turn:
            if self.path.partition("?")[0] == "/feedback":
                self.server.corrected.append(json.loads(body)["id"])
                self._answer(200, {})
                return
            number = sum(self.server.done.values()) + 1
            if number % 10 == 0:
                self.server.done["refused"] += 1
                self._answer(503, {})
            elif number % 10 == 5:
                self.server.done["lost"] += 1
                self.close_connection = True
            else:
                self.server.done["answered"] += 1
                version = "1" if number <= 50 else "2"
                self._answer(200, {"id": f"{number}", "emotion": "sad", "model": {"version": version}})

    def _answer(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def command_for(server: Server, picture: Path) -> list[str]:
    picture.write_bytes(b"picture")
    return command_of(
        LoadPlan(
            url=f"http://127.0.0.1:{server.server_port}",
            pictures=[picture],
            rate=100.0,
            seed=1,
            interval_s=0.5,
        )
    )


def ended_after_intervals(command: list[str], count: int) -> list[LoadLine]:
    """Lines of a generator that is asked to end once it has printed this number of intervals."""
    lines: list[LoadLine] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for text in process.stdout:
            lines.append(from_line(text))
            if sum(isinstance(line, Interval) for line in lines) == count and isinstance(lines[-1], Interval):
                process.terminate()
    assert process.returncode == 0
    return lines


def test_the_load_counts_what_the_server_did(server: Server, tmp_path: Path) -> None:
    lines = ended_after_intervals(command_for(server, tmp_path / "picture"), 6)
    intervals = [line for line in lines if isinstance(line, Interval)]
    pictures = sum((interval.pictures for interval in intervals), Counts())
    assert pictures == Counts(sent=sum(server.done.values()), **server.done)
    # Three seconds at 100/s are some 300; a Poisson count has a standard deviation of its mean's root, and a
    # busy machine may send up to a second late.
    expected = 100 * (intervals[-1].ended_at - intervals[0].ended_at + 0.5)
    assert abs(pictures.sent - expected) < 4 * expected**0.5 + 100
    assert len(intervals) >= 7
    feedback = sum((interval.feedback for interval in intervals), Counts())
    assert feedback == Counts(sent=len(server.corrected), answered=len(server.corrected))
    assert len(set(server.corrected)) == len(server.corrected) > 0
    versions = sum((Counter(interval.versions) for interval in intervals), Counter())
    # 50 requests, of which 10 were refused or broken off.
    assert versions == {"1": 40, "2": pictures.answered - 40}
    changes = [line for line in lines if isinstance(line, VersionChange)]
    assert {change.version for change in changes} == {"1", "2"}
    assert changes[0].version == "1"
    assert changes[-1].version == "2"
    assert isinstance(lines[-1], Tail)
    assert 0 < lines[-1].p50_ms <= lines[-1].p99_ms <= lines[-1].p999_ms
