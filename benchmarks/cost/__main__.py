"""`python -m benchmarks.cost [MODEL …]`: what a request costs, and what a rate of requests needs; 4 minutes.

For each network in `onnx/`, float and int8, it starts the real service (one worker, everything on but drift)
and measures processor time per request with one client, as /proc/PID/stat counts it, and memory. It writes
10,000 observations into an SQLite database and looks at its size. From these it reckons cores, replicas,
memory, rows and bytes for 10, 1,000 and 100,000 requests per second. It prints Markdown tables and rewrites
their part of docs/scale.md. `--render FILE` measures nothing and shows figures that `--json FILE` kept.
The network that `make run` selected is reckoned with, else the first one. Expected on two idle cores: 50 to
200 requests per second and core, under 1 kB for each observation.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks import machine
from benchmarks.blocks import rewrite, with_block
from benchmarks.cost.measure import request_costs, storage_cost
from benchmarks.cost.record import Costs, read_costs
from benchmarks.cost.table import tables
from benchmarks.load import post_request
from benchmarks.peers.contender import portrait
from benchmarks.peers.recipes import FORM, as_form
from benchmarks.report import noted
from pipelines.core.params import known_architectures
from pipelines.core.paths import COMPARISON, LATENCY, onnx_model
from pipelines.core.records import write_record
from pipelines.core.results import read_comparison, read_latencies
from pipelines.core.variants import all_variants

DOCS = Path("docs/scale.md")
NAME = "cost"
_SECONDS = 2.0


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cost", description="What a request costs.")
    parser.add_argument("models", nargs="*", help="ONNX files or variants; all variants in onnx/ without it")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="of each measurement (2)")
    parser.add_argument("--docs", type=Path, default=DOCS, help=f"the file to rewrite ({DOCS})")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--render", type=Path, help="figures of an earlier run; nothing is measured")
    arguments = parser.parse_args()
    # Now, not after minutes: whether it has the part that is rewritten.
    with_block(arguments.docs.read_text(encoding="utf-8"), NAME, "")
    if arguments.render:
        _show(read_costs(arguments.render), arguments.docs, note="")
        return
    models = _models(arguments.models)
    if not models:
        parser.error("got no model in onnx/, expected those of `make run`: run it, or name ONNX files")
    commit, before, begun = machine.commit(), machine.load(), time.monotonic()
    costs = _measured(models, seconds=arguments.seconds)
    if arguments.json:
        write_record(arguments.json, costs)
    took_s = time.monotonic() - begun
    note = noted(["benchmarks.cost"], commit, loads=(before, machine.load()), seconds=took_s)
    _show(costs, arguments.docs, note=f"{note} {machine.machine()}.\n\n")


def _models(names: list[str]) -> Mapping[str, Path]:
    """Title → ONNX file; the selected variant first."""
    files = {name: onnx_model(name) for name in all_variants(known_architectures())}
    if names:
        return {Path(name).name: Path(name) if name.endswith(".onnx") else files[name] for name in names}
    there = {name: file for name, file in files.items() if file.is_file()}
    selected = read_comparison(Path()).selected if COMPARISON.is_file() else ""
    return dict(sorted(there.items(), key=lambda item: item[0] != selected))


def _measured(models: Mapping[str, Path], *, seconds: float) -> Costs:
    alone = read_latencies(Path()).models if LATENCY.is_file() else {}
    network_ms = {title: times.batch_1.p50_ms for title, times in alone.items()}
    requests = request_costs(models, network_ms=network_ms, seconds=seconds)
    _, form = post_request("http://127.0.0.1/detect", as_form(portrait()), content_type=FORM)
    return Costs(requests=requests, storage=storage_cost(), form_bytes=len(form))


def _show(costs: Costs, docs: Path, *, note: str) -> None:
    text = note + "\n".join(tables(costs))
    print(text, flush=True)
    rewrite(docs, NAME, text)


if __name__ == "__main__":
    main()
