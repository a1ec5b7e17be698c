"""`python -m benchmarks.scale [--quick]`: `prepare` and `validate` at 1,000, 10,000 and 100,000 pictures.

The pictures are the sample's, drawn at 48 px, seven of each person; they are drawn once (five minutes on two
cores) and kept in `--cache`, 0.5 GB. Each measurement is a process of its own. It prints a Markdown table of
time, processor time and peak memory, workers included. Expected: time per picture within 20 % from 10,000 to
100,000, memory that grows with the table of pictures only. Two minutes once they are drawn; `--quick`: 1,000
and 10,000.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.peers.environments import default_cache
from benchmarks.prepare import PeakMemory, cpu_seconds
from pipelines.core.params import load_params
from pipelines.core.paths import PARAMS

_SIDE_PX, _CLASSES = 48, 7
_SIZES, _QUICK = (1_000, 10_000, 100_000), (1_000, 10_000)
_SEED = 20
STAGES = ("prepare", "validate")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one stage at one number of pictures."""

    stage: str
    images: int
    seconds: float
    """Without the start of the interpreter."""
    cpu_s: float
    peak_mib: float

    @property
    def per_image_ms(self) -> float:
        """Wall time."""
        return 1e3 * self.seconds / self.images


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="prepare and validate at growing numbers of pictures.")
    parser.add_argument("--sizes", type=int, nargs="+", metavar="N")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="folder for the pictures")
    parser.add_argument("--quick", action="store_true", help="1,000 and 10,000 only")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage:
        print(json.dumps(_run(arguments.stage, arguments.folder)))
        return
    sizes = arguments.sizes or (_QUICK if arguments.quick else _SIZES)
    drawn = _drawn(arguments.cache, most=max(sizes))
    costs = [cost for size in sizes for cost in _measured(drawn, arguments.cache, size)]
    print("\n".join(table(costs)))


def table(costs: Sequence[Cost]) -> Iterator[str]:
    """Lines of Markdown, and below them how the time per picture grows."""
    yield "| | pictures | seconds | ms per picture | processor ms per picture | peak MiB |"
    yield "|---|---|---|---|---|---|"
    for stage in STAGES:
        for cost in (cost for cost in costs if cost.stage == stage):
            yield (
                f"| `{stage}` | {cost.images:,} | {cost.seconds:.1f} | {cost.per_image_ms:.3f} | "
                f"{1e3 * cost.cpu_s / cost.images:.3f} | {cost.peak_mib:.0f} |"
            )
    yield ""
    for stage in STAGES:
        of = [cost for cost in costs if cost.stage == stage]
        if len(of) > 1:
            yield _growth(stage, of[-2], of[-1])


def _growth(stage: str, fewer: Cost, more: Cost) -> str:
    added = more.images - fewer.images
    each_kib = (more.peak_mib - fewer.peak_mib) * 1024 / added
    wall = more.per_image_ms / fewer.per_image_ms
    processor = more.cpu_s / more.images / (fewer.cpu_s / fewer.images)
    return (
        f"* `{stage}`, from {fewer.images:,} to {more.images:,}: time per picture × {wall:.2f}, "
        f"processor time × {processor:.2f}; {each_kib:.1f} KiB of memory for each picture more"
    )


def _drawn(cache: Path, *, most: int) -> Path:
    """The pictures, drawn when they are not there; the first ones of a larger set are the same."""
    from sample_faces.dataset import SampleSpec, write_sample

    per_class = -(-most // _CLASSES)
    name = f"sample-{_SIDE_PX}px-"
    there = {int(path.name.removeprefix(name)): path for path in cache.glob(f"{name}*")}
    folder = there.get(
        min((n for n in there if n >= most), default=0), cache / f"{name}{per_class * _CLASSES}"
    )
    if not folder.is_dir():
        print(f"drawing {per_class * _CLASSES:,} pictures into {folder}", file=sys.stderr, flush=True)
        cache.mkdir(parents=True, exist_ok=True)
        spec = SampleSpec(
            per_class=per_class,
            seed=_SEED,
            size_px=_SIDE_PX,
            identities=(0, max(1, per_class - 1)),
            per_person=_CLASSES,
        )
        write_sample(spec, folder)
    return folder


def _measured(drawn: Path, cache: Path, size: int) -> Iterator[Cost]:
    with tempfile.TemporaryDirectory(dir=cache, prefix="scale-") as folder:
        _link(drawn, Path(folder) / "data", size)
        for stage in STAGES:
            command = [sys.executable, "-m", "benchmarks.scale", "--stage", stage, "--folder", folder]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            yield Cost(**json.loads(done.stdout.splitlines()[-1]))


def _link(drawn: Path, data: Path, size: int) -> None:
    """The first pictures of each class, as links: the same people in each class."""
    for place, label in enumerate(sorted(drawn.iterdir())):
        (data / label.name).mkdir(parents=True)
        count = size // _CLASSES + (place < size % _CLASSES)
        for file in sorted(label.iterdir(), key=lambda path: (len(path.name), path.name))[:count]:
            _link_or_copy(file, data / label.name / file.name)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


def _run(stage: str, folder: Path) -> dict[str, float | str]:
    work = _prepare(folder) if stage == "prepare" else _validate(folder)
    with PeakMemory() as peak:
        cpu, begun = cpu_seconds(), time.perf_counter()
        images = work()
        seconds, cpu = time.perf_counter() - begun, cpu_seconds() - cpu
    cost = Cost(stage=stage, images=images, seconds=seconds, cpu_s=cpu, peak_mib=peak.bytes / 2**20)
    return asdict(cost)


def _prepare(folder: Path) -> Callable[[], int]:
    from pipelines.prepare.stage import prepare

    changes = {"color": "rgb", "image_size_px": _SIDE_PX}
    params = load_params(PARAMS).prepare.model_copy(update=changes)
    return lambda: prepare(folder / "data", folder / "prepared", root=folder, params=params, seed=_SEED).found


def _validate(folder: Path) -> Callable[[], int]:
    import pyarrow.parquet

    from pipelines.validate.stage import validate
    from pipelines.validate.suite import load_library

    params = load_params(PARAMS)
    manifest = folder / "prepared/manifest.parquet"
    # Great Expectations takes seconds to import, independent of the data.
    load_library()

    def work() -> int:
        validate(
            manifest,
            folder / "prepared/dataset.json",
            params=params.validate_,
            near_duplicate_bits=params.prepare.near_duplicate_bits,
            docs=folder / "docs",
        )
        return int(pyarrow.parquet.read_metadata(manifest).num_rows)

    return work


if __name__ == "__main__":
    main()
