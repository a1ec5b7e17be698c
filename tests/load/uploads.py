"""Upload thousands of damaged pictures to a service and look at what they cost it.

    python -m tests.load.uploads --count 20000

About 20 minutes on two cores. Files of every format and dialect get structure-aware mutations
(`tests.support.picture_mutations`) and go over keep-alive connections to a service that it starts. It
reports, and exits with 1 unless all is as wanted:

failed      answers with a status of 500 and above, connections that broke: none
decode_s    longest decoding of a picture that was answered, and longest time until another was refused:
            below 2 s
growth      resident memory after the last upload, compared with half of them: at most 10 % more

The suite runs the same with some 200 uploads, too few for the memory to have settled.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from tests.support.http_process import running
from tests.support.picture_mutations import mutated, originals
from tests.support.serving_models import model_folder

CONNECTIONS = 2
LONGEST_S = 2.0
MOST_GROWTH = 0.10
# A whole explanation costs a network's turn more; most of the cost is the picture's.
PATHS = ("/detect", "/detect", "/detect", "/explain")
FORM = "frontier"


@dataclass
class Report:
    """What happened to all uploads."""

    count: int
    statuses: Counter[int] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    """Number, dialect and status of each upload that failed; the number and the seed make the file again."""
    decode_s: float = 0.0
    longest: str = ""
    half_bytes: int = 0
    last_bytes: int = 0

    @property
    def growth(self) -> float:
        """Share by which resident memory grew in the second half."""
        return self.last_bytes / self.half_bytes - 1

    @property
    def problems(self) -> list[str]:
        """What is not as wanted."""
        found = [f"{len(self.failed)} uploads failed: {'; '.join(self.failed[:10])}"] if self.failed else []
        if self.decode_s >= LONGEST_S:
            found.append(f"{self.longest} took {self.decode_s:.2f} s, expected less than {LONGEST_S:g} s")
        if self.growth > MOST_GROWTH:
            found.append(f"memory grew by {self.growth:.1%}, expected at most {MOST_GROWTH:.0%}")
        return found

    def text(self) -> str:
        """For people."""
        statuses = ", ".join(f"{status}: {count}" for status, count in sorted(self.statuses.items()))
        mib = 1 << 20
        return "\n".join(
            [
                f"uploads    {self.count} ({statuses})",
                f"failed     {len(self.failed)}",
                f"decode_s   {self.decode_s:.2f} ({self.longest})",
                f"memory     {self.half_bytes / mib:.0f} MiB after half of them, "
                f"{self.last_bytes / mib:.0f} MiB after the last ({self.growth:+.1%})",
                *self.problems,
            ]
        )


class Uploads:
    """Sends the uploads from several threads, each with a connection of its own."""

    def __init__(self, client: httpx.Client, service: psutil.Process, *, count: int, seed: int) -> None:
        self._url = str(client.base_url)
        self._service = service
        self._seed = seed
        self._files = originals()
        self._names = sorted(self._files)
        self._numbers = iter(range(count))
        self._lock = threading.Lock()
        self.report = Report(count=count)

    def run(self) -> Report:
        """Send all."""
        threads = [threading.Thread(target=self._send, daemon=True) for _ in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.report.last_bytes = self._service.memory_info().rss
        return self.report

    def _send(self) -> None:
        with httpx.Client(base_url=self._url, timeout=120.0) as client:
            for number in self._taken():
                draw = random.Random(self._seed * 1_000_003 + number)
                name = self._names[number % len(self._names)]
                self._upload(client, number, name, mutated(name, self._files, draw), draw)

    def _taken(self) -> Iterator[int]:
        while True:
            with self._lock:
                number = next(self._numbers, None)
                if number is not None and number == self.report.count // 2:
                    self.report.half_bytes = self._service.memory_info().rss
            if number is None:
                return
            yield number

    def _upload(self, client: httpx.Client, number: int, name: str, data: bytes, draw: random.Random) -> None:
        what, path = f"upload {number} ({name})", draw.choice(PATHS)
        kind = "application/octet-stream"
        if draw.random() < 0.3:
            kind = f"multipart/form-data; boundary={FORM}"
            head = f'--{FORM}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
            data = head.encode() + data + f"\r\n--{FORM}--\r\n".encode()
        begun = time.monotonic()
        try:
            answer = client.post(path, content=data, headers={"content-type": kind})
        except httpx.TransportError as error:
            with self._lock:
                self.report.failed.append(f"{what}: {error!r}")
            return
        spent_s = time.monotonic() - begun
        if answer.status_code == 200:
            spent_s = answer.json()["timings_ms"]["decode"] / 1000
        with self._lock:
            self.report.statuses[answer.status_code] += 1
            if answer.status_code >= 500:
                self.report.failed.append(f"{what}: status {answer.status_code}")
            if spent_s > self.report.decode_s:
                self.report.decode_s, self.report.longest = spent_s, what


def run(folder: Path, *, count: int, seed: int = 1) -> Report:
    """Start a service in this folder, send the uploads, end it."""
    model_folder(folder / "model")
    # Comparing observations takes a core for seconds, which would count as the pictures' time.
    with running(folder, MIEN_DRIFT="false", MIEN_ACCESS_LOG="false") as (process, client):
        report = Uploads(client, psutil.Process(process.pid), count=count, seed=seed).run()
        if process.poll() is not None:
            report.failed.append(f"the service ended with status {process.returncode}")
    return report


def main() -> None:
    """Report, and say whether it is as wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000, help="uploads")
    parser.add_argument("--seed", type=int, default=1, help="another one makes other files")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = run(Path(folder), count=options.count, seed=options.seed)
    print(report.text())
    sys.exit(1 if report.problems else 0)


if __name__ == "__main__":
    main()
