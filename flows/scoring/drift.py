"""Drift of a batch: compares its pictures with the model's reference."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from serving.drift.data import COLUMNS
from serving.drift.result import DriftRequest, DriftResult, WindowRule
from serving.drift.runner import compute_in_process
from serving.inference.model_slot import ModelIdentity
from serving.settings import Settings

_SEED = 20


def compute_verdict(
    parts: Sequence[Path], out: Path, *, reference: Path, identity: ModelIdentity, settings: Settings
) -> DriftResult:
    """Compute the verdict; writes `OUT.drift.json` and, with a verdict, Evidently's `OUT.drift.html`.

    Args:
        parts: files of the result, with embeddings.
        out: the result.
        reference: folder with the model's reference table.
        identity: of the model.
        settings: the service's, with the minimum number of rows and the rate of false alarms.
    """
    with tempfile.TemporaryDirectory(prefix="mien-scoring-") as folder:
        scores = Path(folder) / "scores.parquet"
        total = sample_rows(parts, scores, max_rows=settings.drift_max_rows)
        request = DriftRequest(
            database_url=settings.database_url.reveal(),
            scores=str(scores),
            model_folder=str(reference),
            model_version=identity.version,
            model_sha256=identity.sha256,
            window=WindowRule(
                last_n=None, min_rows=settings.drift_min_rows, max_rows=settings.drift_max_rows
            ),
            false_alarms=settings.drift_false_alarms,
            pictures_per_person=settings.drift_pictures_per_person,
        )
        with compute_in_process(request) as done:
            if done.html is not None:
                shutil.copyfile(done.html, out.with_name(f"{out.name}.drift.html"))
            text = json.dumps(asdict(done.result) | {"answers": total}, indent=2)
            out.with_name(f"{out.name}.drift.json").write_text(text + "\n", encoding="utf-8")
            return done.result


def sample_rows(parts: Sequence[Path], to: Path, *, max_rows: int) -> int:
    """Write a uniform random sample of the rows with an answer; returns the number of such rows.

    Only one part and the sample are in memory.

    Args:
        parts: files of the result.
        to: Parquet file to write.
        max_rows: size of the sample.
    """
    counts = [
        int(pc.sum(pq.read_table(path, columns=["emotion"])["emotion"].is_valid()).as_py() or 0)
        for path in parts
    ]
    total = sum(counts)
    chosen = np.arange(total)
    if total > max_rows:
        chosen = np.sort(np.random.default_rng(_SEED).choice(total, max_rows, replace=False))
    starts = np.cumsum([0, *counts])
    tables = []
    for path, first, last in zip(parts, starts, starts[1:], strict=False):
        rows = pq.read_table(path, columns=list(COLUMNS))
        rows = rows.filter(rows["emotion"].is_valid())
        tables.append(rows.take(chosen[(chosen >= first) & (chosen < last)] - first))
    pq.write_table(pa.concat_tables(tables), to)
    return total
