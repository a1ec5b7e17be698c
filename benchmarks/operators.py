"""A model's time by operator, from ONNX Runtime's profiler."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from serving.contract import IMAGE, OUTPUTS, Image

_RUNS = 200
_KERNEL = "_kernel_time"


def operator_times(model: bytes, pictures: Image, *, runs: int = _RUNS) -> dict[str, tuple[int, float]]:
    """Operator → how many nodes of it run, and µs they take together for one picture, longest first.

    Only the faster half of each node's runs counts: other work of the machine affects the slower ones. The
    profiler counts whole µs, so the sum of many short nodes is too large.
    """
    with tempfile.TemporaryDirectory(prefix="mien-profile-") as folder:
        session = _session(model, folder)
        for number in range(runs):
            index = number % len(pictures)
            session.run(list(OUTPUTS), {IMAGE: pictures[index : index + 1]})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    durations: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            durations[event["args"]["op_name"], event["name"]].append(event["dur"])
    totals: dict[str, list[float]] = defaultdict(list)
    for (operator, _), found in durations.items():
        totals[operator].append(float(np.mean(np.sort(found)[: max(1, len(found) // 2)])))
    times = {operator: (len(each), sum(each)) for operator, each in totals.items()}
    return dict(sorted(times.items(), key=lambda item: -item[1][1]))


def _session(model: bytes, folder: str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.enable_profiling = True
    options.profile_file_prefix = str(Path(folder, "profile"))
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
