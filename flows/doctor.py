"""What this machine and this checkout lack: `make doctor`.

    python -m flows.doctor             a line for each finding, with what to do about it
    python -m flows.doctor --json      the same for programs

It changes nothing and needs no network; a registry or a database on a server is asked, for some seconds each.
The exit status is 1 if there is a problem.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from pipelines.core.errors import PipelineError
from pipelines.core.lineage import DATA_POINTER, UNKNOWN, commit_time, read_lineage
from pipelines.core.params import load_params
from pipelines.tracking import runs as tracking
from pipelines.tracking.registry import PRODUCTION, Registry
from serving.contract.faces import YUNET_FILE
from serving.cores import usable_cores
from serving.detection.detectors import Detectors
from serving.errors import ServingError
from serving.observations.store import Store
from serving.preflight import read_settings

State = Literal["ok", "note", "problem"]

MIN_CORES = 2
"""The documented times are of two cores."""
MIN_MEMORY_MIB = 6_000
"""Training EfficientNet-B4 at 64 px, 64 pictures a step, was seen to hold 4,260 MiB; the rest is spare."""
MIN_DISK_MB = 8_000
"""The packages take 5,200 MB, results and cache of a run of the sample 640; the rest is for the next runs."""
PORTS: Mapping[int, str] = {8000: "MIEN_PORT", 5000: "MLFLOW_PORT", 4200: "PREFECT_PORT"}
"""Ports that `make serve` and `make up` take, and what chooses another one."""
_LOCK = Path("requirements/dev.txt")
_PIN = re.compile(r"^[A-Za-z0-9][^\\\n]*==[^\\\n]*", re.MULTILINE)
"""A locked package, such as `colorama==0.4.6 ; sys_platform == 'win32'`; its hashes are on the next lines."""
_SHOWN = 3
# A clock that is behind the last commit by more than this is wrong.
_CLOCK_S = 300
_MIB, _MB = 1 << 20, 10**6


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    about: str
    """Name of the check."""
    state: State
    text: str
    """What was found."""
    remedy: str | None = None
    """What to do; None if there is nothing to do."""


Check = Callable[[Path], Iterator[tuple[State, str, str | None]]]


def examine(root: Path) -> Iterator[Finding]:
    """Yield what every check finds in a checkout; a check that cannot be made is a problem of its own."""
    for name, check in CHECKS.items():
        try:
            for state, text, remedy in check(root):
                yield Finding(about=name, state=state, text=text, remedy=remedy)
        except (PipelineError, ServingError, OSError) as error:
            yield Finding(about=name, state="problem", text=" ".join(str(error).split()))


def _python(root: Path) -> Iterator[tuple[State, str, str | None]]:
    text = f"Python {sys.version.split()[0]}"
    if (3, 11) <= sys.version_info[:2] < (3, 13):
        yield "ok", text, None
    else:
        yield (
            "problem",
            f"{text}, expected 3.11 or 3.12",
            "install one of them, remove .venv, run `make setup`",
        )


def _packages(root: Path) -> Iterator[tuple[State, str, str | None]]:
    pins = [Requirement(line) for line in _PIN.findall((root / _LOCK).read_text(encoding="utf-8"))]
    pins = [pin for pin in pins if pin.marker is None or pin.marker.evaluate()]
    installed = {pin.name: _installed(pin.name) for pin in pins}
    different = [
        f"{pin.name} is {installed[pin.name] or 'missing'}, locked {pin.specifier}"
        for pin in pins
        if (found := installed[pin.name]) is None or not pin.specifier.contains(found, prereleases=True)
    ]
    if not different:
        yield "ok", f"all {len(pins)} packages are those of {_LOCK}", None
        return
    more = f" and {len(different) - _SHOWN} more" if len(different) > _SHOWN else ""
    yield "problem", f"{'; '.join(different[:_SHOWN])}{more}", "run `make setup`"


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cores(root: Path) -> Iterator[tuple[State, str, str | None]]:
    cores = usable_cores()
    text = f"{cores} {'core' if cores == 1 else 'cores'} of this machine's {os.cpu_count()} may be used"
    if cores >= MIN_CORES:
        yield "ok", text, None
    else:
        yield (
            "note",
            f"{text}; the documented times are of {MIN_CORES}",
            "give it another core if it has one",
        )


def _memory(root: Path) -> Iterator[tuple[State, str, str | None]]:
    free = memory_mib()
    if free >= MIN_MEMORY_MIB:
        yield "ok", f"{free:,} MiB of memory are available", None
    else:
        text = f"{free:,} MiB of memory are available, training all networks takes up to {MIN_MEMORY_MIB:,}"
        yield "note", text, "end other programs, or remove networks from `architectures` in params.yaml"


def memory_mib() -> int:
    """Available memory, within the limit of the container, if there is one."""
    import psutil

    available = psutil.virtual_memory().available
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii"))
        available = min(available, limit - int(Path("/sys/fs/cgroup/memory.current").read_text("ascii")))
    except (OSError, ValueError):
        pass  # no container, or one without a limit
    return int(available) // _MIB


def _disk(root: Path) -> Iterator[tuple[State, str, str | None]]:
    free = shutil.disk_usage(root).free // _MB
    if free >= MIN_DISK_MB:
        yield "ok", f"{free:,} MB are free on the disk of {root.resolve()}", None
    else:
        text = (
            f"{free:,} MB are free on the disk of {root.resolve()}, a first run takes up to {MIN_DISK_MB:,}"
        )
        yield "problem", text, "make room; `dvc gc --workspace` removes old results from the cache"


def _ports(root: Path) -> Iterator[tuple[State, str, str | None]]:
    taken = [port for port in PORTS if not _is_free(port)]
    if not taken:
        yield "ok", f"ports {', '.join(map(str, PORTS))} are free", None
    for port in taken:
        yield (
            "note",
            f"port {port} is taken",
            f"end what listens there, or choose another one: {PORTS[port]}=…",
        )


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _git(root: Path) -> Iterator[tuple[State, str, str | None]]:
    lineage = read_lineage(root)
    if lineage.commit == UNKNOWN:
        remedy = "work in a clone; results of a folder without git cannot be reproduced"
        yield "problem", "the commit is unknown", remedy
    elif lineage.dirty:
        text = f"commit {lineage.commit[:12]}, and code or parameters differ from it"
        yield "note", text, "commit them before a run that is to be reproducible"
    else:
        yield "ok", f"commit {lineage.commit[:12]}, code and parameters are those of it", None


def _data(root: Path) -> Iterator[tuple[State, str, str | None]]:
    pointer, folder = (root / DATA_POINTER).is_file(), (root / "data").is_dir()
    if not pointer and not folder:
        remedy = "put pictures into data/<class>/ and run `dvc add data` (docs/dataset.md)"
        yield "problem", f"there is neither data/ nor {DATA_POINTER}", remedy
        return
    if not pointer:
        yield "note", "data/ is not versioned", "run `dvc add data` and commit data.dvc"
    remotes = subprocess.run(
        [sys.executable, "-m", "dvc", "remote", "list"], cwd=root, capture_output=True, text=True, check=False
    ).stdout.split("\n")
    names = [line.split()[0] for line in remotes if line.strip()]
    place = "is there" if folder else "is fetched by the next `make run`"
    text = f"data/ {place}; DVC remotes: {', '.join(names) or 'none'}"
    if names:
        yield "ok", text, None
    else:
        yield "note", text, "name one with `dvc remote add --default NAME URL`, or the pictures have no copy"


def _registry(root: Path) -> Iterator[tuple[State, str, str | None]]:
    uri = tracking.connect_to_read()
    registry = None if uri is None else Registry(load_params(root / "params.yaml").register_.model, uri=uri)
    versions = registry.versions() if registry else []
    if registry is None or not versions:
        yield "note", "no model is registered yet", "run `make run`"
        return
    production = next((one for one in versions if PRODUCTION in one.aliases), None)
    if production is None:
        text = f"{registry.name} has {len(versions)} versions and none is in production"
        yield "note", text, "promote one (docs/promotion.md)"
        return
    text = f"{registry.name} version {production.number} of {len(versions)} is in production"
    if registry.intact(production):
        yield "ok", text, None
    else:
        yield "problem", f"{text}, and its file is missing", "run `dvc repro register`, which stores it again"


def _database(root: Path) -> Iterator[tuple[State, str, str | None]]:
    settings = read_settings()
    url = settings.database_url.reveal()
    if url.startswith("sqlite:///") and not (root / url.removeprefix("sqlite:///")).is_file():
        yield "ok", "the service creates its observation database at its first answer", None
        return
    store = Store(url)
    try:
        switches = store.switches(1)
    finally:
        store.close()
    last = f"; its model last changed at {_time(switches[0].time)}" if switches else ""
    yield "ok", f"the observation database answers{last}", None


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def _detector(root: Path) -> Iterator[tuple[State, str, str | None]]:
    settings = read_settings()
    found = Detectors(settings.face_detector, face_model=settings.face_model, cache_dir=settings.cache_dir)
    if settings.face_detector == "none":
        yield "note", "the service looks for no faces", "unset MIEN_FACE_DETECTOR"
    elif found.yunet_file is not None:
        yield "ok", f"YuNet finds the faces: {found.yunet_file}", None
    else:
        remedy = "`make run` with a network fetches it, or name it with MIEN_FACE_MODEL (docs/serving.md)"
        yield "note", f"Haar's cascade finds the faces, since {YUNET_FILE} is not here", remedy


def _weights(root: Path) -> Iterator[tuple[State, str, str | None]]:
    source = load_params(root / "params.yaml").weights.source
    folders = sorted(path.name for path in (root / "weights").glob("*/") if any(path.iterdir()))
    if folders:
        yield "ok", f"weights.source is {source}; found: {', '.join(folders)}", None
    else:
        yield "note", f"weights.source is {source}; none were looked for yet", "run `make run`"


def _clock(root: Path) -> Iterator[tuple[State, str, str | None]]:
    committed, now = commit_time(root), _time(time.time())
    if committed is not None and committed > time.time() + _CLOCK_S:
        text = f"the clock says {now}, the last commit is of {_time(committed)}"
        yield "problem", text, "set the clock; certificates, retention and drift windows depend on it"
    else:
        yield "ok", f"the clock says {now}", None


CHECKS: Mapping[str, Check] = {
    "python": _python,
    "packages": _packages,
    "cores": _cores,
    "memory": _memory,
    "disk": _disk,
    "ports": _ports,
    "git": _git,
    "data": _data,
    "registry": _registry,
    "database": _database,
    "detector": _detector,
    "weights": _weights,
    "clock": _clock,
}
"""Name of each check → what makes it."""

_MARKS: Mapping[State, str] = {"ok": "✓", "note": "·", "problem": "✗"}


def rendered(finding: Finding) -> str:
    """A finding as a line for a terminal."""
    remedy = f": {finding.remedy}" if finding.remedy else ""
    return f"{_MARKS[finding.state]} {finding.about:<10}{finding.text}{remedy}"


def main() -> None:
    """Examine the current folder, print, and exit with 1 if there is a problem."""
    parser = argparse.ArgumentParser(description="What this machine and this checkout lack.")
    parser.add_argument("--json", action="store_true", help="print a JSON list")
    arguments = parser.parse_args()
    findings = []
    for finding in examine(Path()):
        findings.append(finding)
        if not arguments.json:
            print(rendered(finding), flush=True)
    if arguments.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    raise SystemExit(any(finding.state == "problem" for finding in findings))


if __name__ == "__main__":
    main()
