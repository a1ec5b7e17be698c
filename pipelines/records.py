"""Reading what other stages wrote, with one clear line when it is not what they write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import ResultCorrupt
from pipelines.files import read_json

if TYPE_CHECKING:
    import pandas

PREDICTION_COLUMNS = ("path", "split", "label", "predicted", "confidence")
"""Of `predictions.parquet`; `p_CLASS` for every class follows."""


def read_record(path: Path, *, keys: Sequence[str], stage: str) -> dict[str, Any]:
    """Read a JSON object and make sure of its keys.

    Args:
        path: of the file.
        keys: that must be there; a dot steps into an object, as in `test.accuracy`.
        stage: name in `dvc.yaml` of the one that writes it, for the message.

    Raises:
        ResultCorrupt: absent, not JSON, or a key is missing.
    """
    try:
        record = read_json(path)
    except OSError as error:
        raise ResultCorrupt(path=path, reason=error.strerror or str(error), stage=stage) from error
    except ValueError as error:
        raise ResultCorrupt(path=path, reason=f"not JSON ({error})", stage=stage) from error
    for key in keys:
        if not _has(record, key):
            raise ResultCorrupt(path=path, reason=f"no key {key!r}", stage=stage)
    return record


def read_predictions(path: Path, *, stage: str) -> pandas.DataFrame:
    """Read `predictions.parquet`; see `pipelines.evaluate.predict_rows` for its columns.

    Raises:
        ResultCorrupt: absent, truncated, or a column is missing.
    """
    import pandas
    import pyarrow

    try:
        table = pandas.read_parquet(path)
    except (OSError, pyarrow.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise ResultCorrupt(path=path, reason=f"not readable ({reason})", stage=stage) from error
    missing = [name for name in PREDICTION_COLUMNS if name not in table.columns]
    if missing:
        raise ResultCorrupt(path=path, reason=f"no column {missing[0]!r}", stage=stage)
    return table


def _has(record: Any, key: str) -> bool:
    for part in key.split("."):
        if not isinstance(record, dict) or part not in record:
            return False
        record = record[part]
    return True
