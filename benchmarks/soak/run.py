"""One soak test: the real service under load, promotions at regular times, samples of what it uses."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import measure
from benchmarks.peers.contender import portrait
from benchmarks.peers.recipes import FORM, as_form
from benchmarks.service import Registry, Service, service
from benchmarks.soak.load import LoadPlan, command_of
from benchmarks.soak.processes import uses
from benchmarks.soak.record import Interval, Sample, SoakRecord, Swap, Tail, VersionChange, from_line
from benchmarks.soak.versions import write_version
from serving.cores import usable_cores

_PORTRAITS = 8
_PATIENCE_S = 60.0
_LOOK_S = 0.1
_LAST_LINES = 5
_NONE = Tail(p50_ms=0.0, p99_ms=0.0, p999_ms=0.0)


@dataclass(frozen=True, kw_only=True)
class SoakPlan:
    """What is run."""

    seconds: float
    share: float
    """Load ÷ capacity of one client that sends one picture after the other."""
    every_s: float
    """Between two promotions."""
    sample_s: float
    """Between two samples."""
    capacity_s: float
    """Duration of each measurement of the capacity."""
    models: Sequence[tuple[str, Path]]
    """Title and ONNX file of the two models."""
    seed: int


def run(plan: SoakPlan, folder: Path) -> SoakRecord:
    """Run the test; Ctrl-C or SIGTERM ends it early, with the record of what was run.

    Args:
        plan: what is run.
        folder: for the registry, the database and the service's log.
    """
    registry = Registry(folder)
    versions = [
        registry.add(write_version(file, folder / f"version-{number}"))
        for number, (_, file) in enumerate(plan.models, start=1)
    ]
    # With it the measurement of the capacity begins.
    registry.promote(versions[-1])
    files = folder / "service"
    files.mkdir()
    with service(
        files, registry=registry.uri, workers=1, threads=usable_cores(), own_session=True
    ) as running:
        soak = _Soak(plan, folder, running, registry, versions)
        soak.measure_capacity()
        soak.load()
    return soak.record()


class _ServiceEnded(Exception):
    """The service ended by itself."""


class _Soak:
    """A running service with two versions, and what is recorded of it."""

    def __init__(
        self, plan: SoakPlan, folder: Path, running: Service, registry: Registry, versions: Sequence[str]
    ) -> None:
        self._plan, self._folder = plan, folder
        self._running, self._registry, self._versions = running, registry, versions
        self._url = f"http://127.0.0.1:{running.port}"
        self._database = folder / "service/observations.db"
        self._pictures = [folder / f"portrait-{number}.jpg" for number in range(_PORTRAITS)]
        for number, path in enumerate(self._pictures):
            path.write_bytes(portrait(number))
        self._samples: list[Sample] = []
        self._intervals: list[Interval] = []
        self._changes: list[VersionChange] = []
        self._swaps: list[Swap] = []
        self._tail = _NONE
        self._service_ended = False
        self._capacity_per_s, self._detector = 0.0, ""
        self._begun = self._ended = 0.0
        self._rows_before = 0

    def measure_capacity(self) -> None:
        """Ask with one client, each version in turn; the slower one's capacity counts."""
        body = self._folder / "form"
        body.write_bytes(as_form(self._pictures[0].read_bytes()))
        rates = []
        # The first version comes last, so that the load begins with it.
        for version in reversed(self._versions):
            self._registry.promote(version)
            if not self._is_live(version, within_s=_PATIENCE_S):
                raise RuntimeError(f"version {version} did not become live within {_PATIENCE_S:g} s")
            load = measure(
                f"{self._url}/detect",
                body,
                connections=1,
                seconds=self._plan.capacity_s,
                content_type=FORM,
            )
            if load.failed or not load.requests:
                raise RuntimeError(f"{load.failed} of {load.requests} requests failed; nothing was measured")
            rates.append(load.per_s)
        self._running.rest()
        self._detector = self._running.face_detector()
        self._capacity_per_s = min(rates)

    def load(self) -> None:
        """Put the load on the service, promote and sample until the time is over or a signal comes."""
        plan = LoadPlan(
            url=self._url,
            pictures=self._pictures,
            rate=self._plan.share * self._capacity_per_s,
            seed=self._plan.seed,
            interval_s=self._plan.sample_s,
        )
        self._rows_before = _count(self._database, "SELECT COUNT(*) FROM observations")
        # In a session of its own, so that Ctrl-C in a terminal reaches this process only.
        process = subprocess.Popen(
            command_of(plan), stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self._begun = time.monotonic()
        try:
            with self._listening(process.stdout), self._sampling():
                self._wait_for_end(process)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    def record(self) -> SoakRecord:
        """What happened; the service has ended."""
        plan = self._plan
        return SoakRecord(
            asked_s=plan.seconds,
            begun_at=self._begun,
            ended_at=self._ended,
            every_s=plan.every_s,
            share=plan.share,
            capacity_per_s=self._capacity_per_s,
            rate_per_s=plan.share * self._capacity_per_s,
            detector=self._detector,
            models=[title for title, _ in plan.models],
            versions=self._versions,
            samples=self._samples,
            intervals=self._intervals,
            swaps=self._swaps,
            tail=self._tail,
            rows_before=self._rows_before,
            rows_after=_count(self._database, "SELECT COUNT(*) FROM observations"),
            feedback_rows=_count(self._database, "SELECT COUNT(*) FROM feedback"),
            service_ended=self._service_ended,
        )

    def _wait_for_end(self, process: subprocess.Popen[str]) -> None:
        try:
            self._promote(process)
            self._wait(process, until=self._begun + self._plan.seconds)
        except KeyboardInterrupt:
            print("ended early: waiting for the last answers", file=sys.stderr, flush=True)
        except _ServiceEnded:
            self._service_ended = True
            log = (self._folder / "service/service.log").read_text(encoding="utf-8").splitlines()
            print("the service ended; the end of its log:", *log[-_LAST_LINES:], sep="\n", file=sys.stderr)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
            self._ended = time.monotonic()

    def _promote(self, process: subprocess.Popen[str]) -> None:
        """Move the alias to the other version again and again; a promotion waits for the one before."""
        every_s = self._plan.every_s
        # The last version answers for `every_s`, too.
        for number in range(1, int(self._plan.seconds / every_s + 1e-9)):
            self._wait(process, until=self._begun + number * every_s)
            version = self._versions[number % 2]
            moved_at = time.monotonic()
            self._registry.promote(version)
            named = self._is_live(version, within_s=_PATIENCE_S)
            named_s = time.monotonic() - moved_at if named else None
            answered_s = self._answered_s(version, moved_at)
            swap = Swap(version=version, moved_at=moved_at, named_s=named_s, answered_s=answered_s)
            self._swaps.append(swap)

    def _wait(self, process: subprocess.Popen[str], *, until: float) -> None:
        """Wait until a moment while the service and the load run.

        Raises:
            _ServiceEnded: the service has ended.
            RuntimeError: the load has ended.
        """
        while (left := until - time.monotonic()) > 0:
            if not self._running.is_running:
                raise _ServiceEnded
            try:
                status = process.wait(min(left, 1.0))
            except subprocess.TimeoutExpired:
                continue
            raise RuntimeError(f"the load generator ended with exit status {status}, expected it to run on")

    def _is_live(self, version: str, *, within_s: float) -> bool:
        deadline = time.monotonic() + within_s
        while self._live_version() != version:
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOOK_S)
        return True

    def _live_version(self) -> str | None:
        """Version that `/model` names; None if a busy service does not answer in time."""
        try:
            return self._running.live_version()
        except OSError:
            if self._running.is_running:
                return None
            raise _ServiceEnded from None

    def _answered_s(self, version: str, moved_at: float) -> float | None:
        """Wait for the first answer by a promoted version; seconds since the promotion, None in vain."""
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            for change in self._changes:
                if change.version == version and change.at >= moved_at:
                    return change.at - moved_at
            time.sleep(_LOOK_S)
        return None

    @contextmanager
    def _listening(self, output: Iterable[str] | None) -> Iterator[None]:
        """Read the generator's lines in a thread, until its output ends."""
        thread = threading.Thread(target=self._listen, args=(output or (),), name="listening")
        thread.start()
        try:
            yield
        finally:
            thread.join()

    def _listen(self, output: Iterable[str]) -> None:
        for text in output:
            match from_line(text):
                case Interval() as interval:
                    self._intervals.append(interval)
                case VersionChange() as change:
                    self._changes.append(change)
                case Tail() as tail:
                    self._tail = tail

    @contextmanager
    def _sampling(self) -> Iterator[None]:
        """Take samples in a thread: the first at once, the last at the end."""
        ending = threading.Event()
        thread = threading.Thread(target=self._sample_until, args=(ending,), name="sampling")
        thread.start()
        try:
            yield
        finally:
            ending.set()
            thread.join()

    def _sample_until(self, ending: threading.Event) -> None:
        while True:
            self._samples.append(self._sample())
            _print_progress(self._samples[-1], self._intervals[-1:], begun=self._begun)
            if ending.is_set():
                return
            due = self._begun + len(self._samples) * self._plan.sample_s
            ending.wait(max(0.0, due - time.monotonic()))

    def _sample(self) -> Sample:
        write_ahead = self._database.with_name(self._database.name + "-wal")
        size = sum(path.stat().st_size for path in (self._database, write_ahead) if path.exists())
        return Sample(
            at=time.monotonic(),
            processes=tuple(uses(self._running.pid)),
            rows=_count(self._database, "SELECT COUNT(*) FROM observations"),
            database_bytes=size,
        )


def _count(database: Path, statement: str) -> int:
    """Rows of a table, read beside the service."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return int(connection.execute(statement).fetchone()[0])


def _print_progress(sample: Sample, newest: Sequence[Interval], *, begun: float) -> None:
    """One line for the one who waits."""
    memory = ", ".join(f"{use.role} {use.memory_mib:.0f} MiB" for use in sample.processes)
    line = f"{sample.at - begun:6.0f} s: {memory}; {sample.rows:,} rows"
    for interval in newest:
        line += f"; p99 {interval.p99_ms:.0f} ms, lost {interval.pictures.lost + interval.feedback.lost}"
    print(line, file=sys.stderr, flush=True)
