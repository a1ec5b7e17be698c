"""The manifest: one row per prepared picture, `prepared/manifest.parquet`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.core.errors import ManifestCorrupt
from pipelines.core.io import replacing
from serving.contract.model import InputSpec

SPLITS = ("train", "val", "test")

SCHEMA = pa.schema(
    [
        ("path", pa.string()),  # of the prepared picture, relative to prepared/
        ("split", pa.string()),  # train, val or test
        ("label", pa.string()),  # class name
        ("group", pa.string()),  # who: never in two splits
        ("width", pa.int32()),  # of the upright original, px
        ("height", pa.int32()),  # of the upright original, px
        ("mode", pa.string()),  # Pillow's name for the original's pixels
        ("bytes", pa.int64()),  # size of the original
        ("pixel_sha256", pa.string()),  # of the original's decoded pixels
        ("perceptual_hash", pa.string()),  # of the original, 16 hexadecimal digits
        ("brightness", pa.float64()),  # the rest of the prepared picture: see serving.contract.preprocessing
        ("contrast", pa.float64()),
        ("sharpness", pa.float64()),
        ("exif_orientation", pa.int8()),  # 1-8
        ("source", pa.string()),  # locator of the original, see pipelines.core.source_images
    ]
)
COLUMNS: tuple[str, ...] = tuple(SCHEMA.names)

_IDENTITY = ("path", "label", "split", "group", "pixel_sha256")


def write_manifest(path: Path, rows: pa.Table) -> None:
    """Write a table of `SCHEMA`, sorted by path, whole or not at all."""
    with replacing(path) as temporary:
        pq.write_table(rows.sort_by("path"), temporary, compression="zstd")


def read_manifest(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read the manifest, or some columns of it; rows are sorted by path.

    Raises:
        ManifestCorrupt: absent, truncated, or of another shape than `SCHEMA`.
    """
    try:
        table = pq.read_table(path, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else "not a readable Parquet file"
        raise ManifestCorrupt(path=path, reason=reason) from error
    if not table.schema.equals(SCHEMA):
        raise ManifestCorrupt(path=path, reason=_difference(table.schema))
    if table.num_rows == 0:
        raise ManifestCorrupt(path=path, reason="it has no rows")
    frame: pd.DataFrame = (table if columns is None else table.select(list(columns))).to_pandas()
    return frame


def digest(rows: pa.Table | pd.DataFrame, spec: InputSpec) -> str:
    """SHA-256 over what decides a training run: which pixels, labels, splits and input.

    Computed on content, so neither Parquet's version nor the order of rows matters.
    """
    frame = rows.select(list(_IDENTITY)).to_pandas() if isinstance(rows, pa.Table) else rows
    columns = [frame[name].tolist() for name in _IDENTITY]
    hasher = hashlib.sha256(json.dumps(asdict(spec), sort_keys=True).encode())
    for row in sorted(zip(*columns, strict=True)):
        hasher.update(b"\n" + json.dumps(row).encode())
    return hasher.hexdigest()


def _difference(schema: pa.Schema) -> str:
    missing = [name for name in SCHEMA.names if name not in schema.names]
    if missing:
        return f"the column {missing[0]!r} is missing"
    extra = [name for name in schema.names if name not in SCHEMA.names]
    if extra:
        return f"the column {extra[0]!r} is unknown"
    wrong = [field.name for field in SCHEMA if schema.field(field.name).type != field.type]
    if wrong:
        name = wrong[0]
        return f"the column {name!r} holds {schema.field(name).type}, expected {SCHEMA.field(name).type}"
    return "its columns are in another order"
