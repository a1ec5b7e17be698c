"""Write results atomically (temporary file, then rename), and read results of other stages."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.core.errors import OutputError, ResultCorrupt

if TYPE_CHECKING:
    import pandas

_CHUNK_BYTES = 1 << 20


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file path beside `path`; on success it becomes `path`, on error it is deleted.

    Raises:
        OutputError: the folder or the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
    except OSError as error:
        raise OutputError(path=path, reason=error.strerror or str(error)) from error
    temporary = Path(name)
    try:
        yield temporary
        _sync(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(path=path, reason=error.strerror or str(error)) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`; on success it replaces `path`.

    Raises:
        OutputError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    except OSError as error:
        raise OutputError(path=path, reason=error.strerror or str(error)) from error
    try:
        yield temporary
        temporary.chmod(0o755)
        _swap(temporary, path)
    except OSError as error:
        raise OutputError(path=path, reason=error.strerror or str(error)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Mapping[str, object]) -> None:
    """Write canonical JSON (sorted keys, two spaces, NaN refused), whole or not at all."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _swap(new: Path, path: Path) -> None:
    """Replace folder `path` by `new`; the old folder is deleted only after the new one is in place."""
    if not path.exists():
        new.replace(path)
        return
    old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.old."))
    path.replace(old)
    try:
        new.replace(path)
    except OSError:
        old.replace(path)
        raise
    shutil.rmtree(old)


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


PREDICTION_COLUMNS = ("path", "split", "label", "predicted", "confidence")
"""Of `predictions.parquet`; `p_CLASS` for every class follows."""


def read_predictions(path: Path, *, stage: str) -> pandas.DataFrame:
    """Read `predictions.parquet`; see `pipelines.evaluate.stage.predict_rows` for its columns.

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
