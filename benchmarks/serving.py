"""`python -m benchmarks.serving [--quick]`: the service against a bare loop; about 4 minutes.

One picture, one model file, the same cores, all in one run, in turn: the bare loop (decode, preprocess,
`session.run`), then the service with one client, with 8 and with 32, then at 70 % of its maximum.
Observations, metrics and the access log are on. The generator (wrk, else a Python one) shares the cores, so
its processor time is shown too. It prints medians over the rounds, also of each round's ratios, as the
Markdown tables of docs/benchmarks.md. Expected of the bare loop: ≥ 0.70 with mobilenet_v2 at 96 px, ≥ 0.85
with resnet50.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks import machine
from benchmarks.bare_loop import BareLoop, Layout, bare_loop
from benchmarks.load import Load, generator, measure
from benchmarks.models import exported
from benchmarks.service import Service, registry_with, service
from sample_faces.dataset import SampleSpec, draw_image, encode, plan_shots
from serving.cores import usable_cores

_MODELS, _SIDE_PX = ("mobilenet_v2", "resnet50"), 96
_CONNECTIONS = (1, 8, 32)
_BUSY = 32
_SHARE = 0.7
Figures = Mapping[str, Sequence[float]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="The service against a bare loop.")
    parser.add_argument("models", nargs="*", help="architectures, or ONNX files with a contract")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--picture", type=Path, help="a face of the sample without it")
    parser.add_argument("--quick", action="store_true", help="one round, one second each")
    arguments = parser.parse_args()
    rounds, seconds = (1, 1.0) if arguments.quick else (arguments.rounds, arguments.seconds)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        picture = arguments.picture or _sample_face(Path(folder) / "face.jpg")
        _print_machine(picture)
        for model in arguments.models or _MODELS:
            file = Path(model) if model.endswith(".onnx") else exported(model, side_px=_SIDE_PX)
            place = Path(folder) / file.stem
            place.mkdir()
            title = f"`{file.stem}`" if model.endswith(".onnx") else f"`{model}`, {_SIDE_PX} px"
            _print_model(title, file, picture, place, rounds=rounds, seconds=seconds)


def _sample_face(path: Path) -> Path:
    spec = SampleSpec(per_class=1, seed=20, size_px=_SIDE_PX)
    path.write_bytes(encode(draw_image(spec, plan_shots(spec)[0])))
    return path


def _print_machine(picture: Path) -> None:
    packages = ("onnxruntime", "opencv-python-headless", "numpy", "fastapi", "uvicorn", "uvloop")
    print(f"{machine.machine()}; {machine.versions(packages)}; generator: {generator()};")
    print(
        f"{picture.name}, {picture.stat().st_size} bytes; load of the machine before: {machine.load():.1f}\n"
    )


def _print_model(title: str, file: Path, picture: Path, place: Path, *, rounds: int, seconds: float) -> None:
    cores = usable_cores()
    with ExitStack() as stack:
        bare = stack.enter_context(bare_loop(file, picture.read_bytes(), cores=cores))
        registry = registry_with(file, place)
        one = stack.enter_context(_twice_started(place / "one", registry, workers=1, threads=cores))
        several = stack.enter_context(_twice_started(place / "several", registry, workers=cores, threads=1))
        one.settle()
        several.settle()
        idle = one.memory_mib()
        layout = bare.best_layout()
        for running in (one, several):
            measure(running.url, picture, connections=8, seconds=1)
            running.rest()
        figures: dict[str, list[float]] = defaultdict(list)
        for _ in range(rounds):
            for name, value in _round(bare, layout, one, several, picture, seconds):
                figures[name].append(value)
        _print_table(title, layout, figures)
        _print_rest(figures, ready_s=one.ready_s, idle=idle, loaded=one.memory_mib(), cores=cores)


@contextmanager
def _twice_started(place: Path, registry: str, *, workers: int, threads: int) -> Iterator[Service]:
    """The second start finds the model in the cache."""
    place.mkdir()
    with service(place, registry=registry, workers=workers, threads=threads):
        pass
    with service(place, registry=registry, workers=workers, threads=threads) as running:
        yield running


def _round(
    bare: BareLoop, layout: Layout, one: Service, several: Service, picture: Path, seconds: float
) -> Iterator[tuple[str, float]]:
    speed = bare.run(layout, seconds)
    single_ms = bare.single_ms(seconds / 3)
    yield from (("bare/s", speed.per_s), ("bare ms", speed.cpu_ms), ("single ms", single_ms))
    for connections in _CONNECTIONS:
        load, cpu_ms = _loaded(one, picture, connections=connections, seconds=seconds)
        yield from _load_rows(f"{connections}", load, cpu_ms, bare_s=speed.per_s, bare_ms=speed.cpu_ms)
    steady, cpu_ms = _loaded(one, picture, connections=_BUSY, seconds=seconds, rate=_SHARE * load.per_s)
    yield from _load_rows("70 %", steady, cpu_ms, bare_s=speed.per_s, bare_ms=speed.cpu_ms)
    yield "p99 ÷ single", steady.p99_ms / single_ms
    for connections in _CONNECTIONS[1:]:
        load, cpu_ms = _loaded(several, picture, connections=connections, seconds=seconds)
        yield from _load_rows(
            f"{connections} workers", load, cpu_ms, bare_s=speed.per_s, bare_ms=speed.cpu_ms
        )


def _loaded(
    running: Service, picture: Path, *, connections: int, seconds: float, rate: float = 0.0
) -> tuple[Load, float]:
    before_s = running.cpu_s()
    load = measure(running.url, picture, connections=connections, seconds=seconds, rate=rate)
    if load.failed:
        raise RuntimeError(f"{load.failed} of {load.requests} requests failed; the figures mean nothing")
    return load, 1e3 * (running.cpu_s() - before_s) / load.requests


def _load_rows(
    name: str, load: Load, cpu_ms: float, *, bare_s: float, bare_ms: float
) -> Iterator[tuple[str, float]]:
    yield f"{name} /s", load.per_s
    yield f"{name} cpu", cpu_ms
    yield f"{name} generator", 1e3 * load.cpu_s / load.requests
    yield from ((f"{name} p50", load.p50_ms), (f"{name} p95", load.p95_ms), (f"{name} p99", load.p99_ms))
    yield f"{name} ratio", load.per_s / bare_s
    yield f"{name} cpu ratio", bare_ms / cpu_ms


def _print_table(name: str, layout: Layout, figures: Figures) -> None:
    median = {key: statistics.median(values) for key, values in figures.items()}
    print(f"**{name}**\n")
    print("| | per s | ÷ bare | CPU ms | bare ÷ CPU | generator's | p50 ms | p95 | p99 |")
    print("|---|---|---|---|---|---|---|---|---|")
    print(
        f"| bare loop, {layout} | {median['bare/s']:.0f} | 1 | {median['bare ms']:.2f} | 1 | – | – | – | – |"
    )
    for key, title in _rows():
        cells = [f"{median[f'{key} /s']:.0f}", f"{median[f'{key} ratio']:.2f}"]
        cells += [f"{median[f'{key} cpu']:.2f}", f"{median[f'{key} cpu ratio']:.2f}"]
        cells += [f"{median[f'{key} generator']:.3f}"]
        cells += [f"{median[f'{key} {at}']:.1f}" for at in ("p50", "p95", "p99")]
        print(f"| {title} | " + " | ".join(cells) + " |")
    print()


def _rows() -> Iterator[tuple[str, str]]:
    yield from ((f"{connections}", f"service, {_clients(connections)}") for connections in _CONNECTIONS)
    yield "70 %", f"service, 70 % of its most, {_BUSY} clients"
    for connections in _CONNECTIONS[1:]:
        yield f"{connections} workers", f"service, a process for each core, {connections} clients"


def _clients(connections: int) -> str:
    return f"{connections} client" if connections == 1 else f"{connections} clients"


def _print_rest(
    figures: Figures, *, ready_s: float, idle: tuple[float, float], loaded: tuple[float, float], cores: int
) -> None:
    single, tail = (statistics.median(figures[name]) for name in ("single ms", "p99 ÷ single"))
    print(f"* one picture in the bare loop: {single:.2f} ms; p99 at 70 % ÷ that: {tail:.1f}")
    print(f"* ready {ready_s:.2f} s after the start, the model in the cache")
    for when, (answering, everything) in (("idle", idle), ("after the load", loaded)):
        print(f"* memory, {when}: answering process {answering:.0f} MiB, all {everything:.0f} MiB")
    print(flush=True)


if __name__ == "__main__":
    main()
