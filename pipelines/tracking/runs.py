"""Where MLflow lies, and its errors in one line.

Without a setting everything goes into the checkout: `mlruns/mlflow.db` (SQLite; MLflow 3 rejects the
file store) and `mlruns/artifacts`. `MLFLOW_TRACKING_URI` points elsewhere; of a server the server
decides where artifacts are stored; for an SQLite file they are in the `artifacts` folder beside it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, url2pathname

from pipelines.core.cli import SQLITE_DAMAGED, SQLITE_LOCKED, sqlite_codes
from pipelines.core.errors import RegistryError
from pipelines.core.paths import MLFLOW_ARTIFACTS, MLFLOW_DATABASE

if TYPE_CHECKING:
    import mlflow

T = TypeVar("T")

TRACKING_URI = "MLFLOW_TRACKING_URI"
SCRATCH = "MIEN_SCRATCH"
"""Set to 1 in a copy that will be thrown away, so that no run is logged into it by mistake."""

_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_DVC_COPIES = (".dvc", "tmp")
"""Below this folder of a checkout DVC runs queued experiments."""
_SQLITE = "sqlite:///"
# A server on the same site answers a connection in milliseconds; MLflow's own way (7 retries with
# doubling pauses, 120 s each) would keep a stage hanging for minutes.
_CONNECT_TIMEOUT_S = 3.0
_LOCK_TIMEOUT_S = 10.0
_LOCK_PAUSES_S = (0.2, 0.5, 1.0, 2.0)
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    # With S3 behind it a server that passes files on would send clients to the store instead, which they need
    # not reach (mlflow/store/artifact/mlflow_artifacts_repo.py).
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
    "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "false",
}


def configure(experiment: str) -> str:
    """Point MLflow at its store, make `experiment` the active one and return its id.

    A new SQLite store is created first, which takes seconds (MLflow runs all its migrations).

    Raises:
        RegistryError: the store cannot be reached, is locked, damaged or not allowed here.
    """
    uri = connect()
    return retrying(uri, lambda: _experiment(uri, experiment))


def connect(uri: str | None = None) -> str:
    """Point MLflow at its store, make sure that something answers there, and return its URI.

    Args:
        uri: of the store; None is the one that holds in the current folder.

    Raises:
        RegistryError: see `configure`.
    """
    uri = uri or tracking_uri()
    _check_answers(uri)
    _use(uri)
    if uri.startswith(_SQLITE):
        retrying(uri, partial(_create_tables, Path(uri.removeprefix(_SQLITE))))
    return uri


def check_place(database: Path) -> None:
    """Refuse a database whose experiments store files beside another one: a copied or moved project.

    Args:
        database: MLflow's SQLite file; one that is not there yet is in its place.

    Raises:
        RegistryError: it records another folder, or it is damaged or locked.
    """
    if not database.exists():
        return  # opening it would make it
    uri = f"{_SQLITE}{database}"
    try:
        with closing(sqlite3.connect(database, timeout=_LOCK_TIMEOUT_S)) as opened:
            homes = foreign_homes(opened, database.absolute().parent)
    except sqlite3.Error as error:
        raise registry_error(uri, error) from error
    if homes:
        raise RegistryError(
            uri=uri,
            reason=f"its experiments store their files in {homes[0]}, but it lies in "
            f"{database.absolute().parent}: the project was copied or moved",
            remedy="run `make relocate`, which records where the files lie now",
        )


def foreign_homes(opened: sqlite3.Connection, home: Path) -> list[Path]:
    """Folders other than `home` whose `artifacts` hold experiments as this project places them."""
    known = opened.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'experiments'")
    if known.fetchone() is None:
        return []
    found: dict[Path, None] = {}
    rows = opened.execute("SELECT experiment_id, name, artifact_location FROM experiments")
    for number, name, location in rows:
        if not str(location).startswith("file:"):
            continue
        folder = Path(url2pathname(urlsplit(location).path))
        # A server names the folder by the experiment's number, `_artifact_location` by its name.
        ours = (
            folder.name in (str(number), _folder_name(name)) and folder.parent.name == MLFLOW_ARTIFACTS.name
        )
        if ours and folder.parent.parent.resolve() != home.resolve():
            found[folder.parent.parent] = None
    return list(found)


def sqlite_file(uri: str) -> Path | None:
    """The file of an SQLite URI; None for any other store."""
    return Path(uri.removeprefix(_SQLITE)) if uri.startswith(_SQLITE) else None


def connect_to_read(uri: str | None = None) -> str | None:
    """Point MLflow at its store without writing there; returns its URI, None where there is no store yet.

    Args:
        uri: of MLflow; None is where it lies here.

    Raises:
        RegistryError: the store cannot be reached, or is damaged or not allowed here.
    """
    uri = uri or tracking_uri()
    if uri.startswith(_SQLITE):
        path = Path(uri.removeprefix(_SQLITE))
        if not path.exists() or not _has_tables(uri, path):
            return None
        check_place(path)
    else:
        _check_answers(uri)
    _use(uri)
    return uri


def tracking_uri() -> str:
    """The URI that holds here; imports no MLflow and touches nothing.

    Raises:
        RegistryError: a file store, or a scratch copy without an absolute URI.
    """
    folder = Path.cwd()
    checkout = _experiments_checkout(folder) or folder
    chosen = os.environ.get(TRACKING_URI, "").strip()
    if chosen.startswith(("file:", "/", ".")) or (chosen and ":" not in chosen):
        raise RegistryError(
            uri=chosen,
            reason="MLflow 3 no longer writes to a plain folder",
            remedy=f"set {TRACKING_URI} to sqlite:////absolute/path/mlflow.db or to a server's http address",
        )
    if is_scratch(checkout if not chosen else folder) and not _is_absolute(chosen):
        raise RegistryError(
            uri=chosen or "(unset)",
            reason=f"this is a scratch copy ({folder.name}), its own mlruns/ would be thrown away",
            remedy=f"set {TRACKING_URI} to an absolute URI, such as the one of the checkout it came from",
        )
    return chosen or f"{_SQLITE}{checkout / MLFLOW_DATABASE}"


def is_scratch(folder: Path) -> bool:
    """Whether `folder` is a copy that will be thrown away: DVC's own, or marked by MIEN_SCRATCH=1."""
    return _experiments_checkout(folder) is not None or os.environ.get(SCRATCH, "") == "1"


def _experiments_checkout(folder: Path) -> Path | None:
    """The checkout whose queued experiment runs in `folder`; None if it is not such a copy made by DVC."""
    pairs = list(pairwise(folder.parts))
    return Path(*folder.parts[: pairs.index(_DVC_COPIES)]) if _DVC_COPIES in pairs else None


@contextmanager
def translated(uri: str) -> Iterator[None]:
    """Turn errors of MLflow, its database or its server into one line.

    Raises:
        RegistryError: in place of any of them.
    """
    import sqlalchemy.exc
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException

    try:
        yield
    except (
        MlflowException,
        sqlalchemy.exc.SQLAlchemyError,
        RequestException,
        sqlite3.Error,
        OSError,
    ) as error:
        raise registry_error(uri, error) from error


def retrying(uri: str, operation: Callable[[], T]) -> T:
    """Call `operation`, again after a pause while SQLite says that another process is writing.

    Raises:
        RegistryError: it still fails, or fails for another reason.
    """
    for pause_s in _LOCK_PAUSES_S:
        try:
            with translated(uri):
                return operation()
        except RegistryError as error:
            if not sqlite_codes(error) & SQLITE_LOCKED:
                raise
        time.sleep(pause_s)
    with translated(uri):
        return operation()


def registry_error(uri: str, error: Exception) -> RegistryError:
    """Reason and remedy for `error`."""
    text = str(error)
    codes = sqlite_codes(error)
    if codes & SQLITE_LOCKED:
        return RegistryError(
            uri=uri,
            reason="the database is locked by another process",
            remedy="wait for it, or run one `mlflow server` for several writers and set "
            f"{TRACKING_URI} to its address",
        )
    if codes & SQLITE_DAMAGED:
        return RegistryError(
            uri=uri,
            reason="the file is damaged or not an SQLite database",
            remedy="move it away, or restore it from a backup; `dvc repro` then fills a new one",
        )
    if "out-of-date database schema" in text or "Can't locate revision" in text:
        return RegistryError(
            uri=uri,
            reason="its tables belong to another MLflow version",
            remedy=f"back it up and run `mlflow db upgrade {uri}`, or install the locked MLflow",
        )
    reason = " ".join(text.split())
    return RegistryError(
        uri=uri, reason=reason[:300] or type(error).__name__, remedy=f"check the store and {TRACKING_URI}"
    )


def _use(uri: str) -> None:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import mlflow

    # Errors are reported here in one line, without tracebacks.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    mlflow.set_tracking_uri(uri)


def _has_tables(uri: str, path: Path) -> bool:
    """Whether MLflow's migrations have run; asked without the right to write."""
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", timeout=_LOCK_TIMEOUT_S, uri=True)
        ) as database:
            wanted = "SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'"
            return bool(database.execute(wanted).fetchone()[0])
    except (sqlite3.Error, OSError) as error:
        raise registry_error(uri, error) from error


def _create_tables(path: Path) -> None:
    """Create MLflow's tables where they are missing, one process at a time.

    MLflow takes no lock for it: of several stages that find no tables, all but one fail in the migrations.
    """
    import mlflow

    with path.with_name(f"{path.name}.lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        mlflow.MlflowClient().search_experiments(max_results=1)


def _experiment(uri: str, name: str) -> str:
    import mlflow

    client = mlflow.MlflowClient()
    found = client.get_experiment_by_name(name)
    if found is None:
        experiment_id = _create(client, name, _artifact_location(uri, name))
    elif found.lifecycle_stage == "deleted":
        raise RegistryError(
            uri=uri,
            reason=f"the experiment {name!r} was deleted",
            remedy=f"run `mlflow experiments restore -x {found.experiment_id}`, "
            "or choose another name under register.experiment in params.yaml",
        )
    else:
        experiment_id = found.experiment_id
    mlflow.set_experiment(experiment_id=experiment_id)
    return str(experiment_id)


def _create(client: mlflow.MlflowClient, name: str, location: str | None) -> str:
    from mlflow.exceptions import MlflowException

    try:
        return str(client.create_experiment(name, artifact_location=location))
    except MlflowException as error:
        # Another process was faster: stages may run in parallel.
        found = client.get_experiment_by_name(name)
        if found is None or error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return str(found.experiment_id)


def _artifact_location(uri: str, experiment: str) -> str | None:
    """Beside the database, because the current folder may be a scratch copy; None: the server decides."""
    if not uri.startswith(_SQLITE):
        return None
    folder = Path(uri.removeprefix(_SQLITE)).absolute().parent / MLFLOW_ARTIFACTS.name
    return (folder / _folder_name(experiment)).as_uri()


def _folder_name(experiment: str) -> str:
    return re.sub(r"[^\w.-]", "_", experiment)


def _is_absolute(uri: str) -> bool:
    if uri.startswith(_SQLITE):
        return Path(uri.removeprefix(_SQLITE)).is_absolute()
    return bool(uri)


def _check_answers(uri: str) -> None:
    if uri.startswith(("http://", "https://")):
        _check_server(uri)
    elif uri.startswith(_SQLITE):
        _check_sqlite(uri, Path(uri.removeprefix(_SQLITE)))
    elif uri.split(":", 1)[0].split("+", 1)[0] not in (*_DATABASES, "databricks", "uc"):
        raise RegistryError(
            uri=uri,
            reason="MLflow does not support this address",
            remedy=f"set {TRACKING_URI} to an http(s) address, or to sqlite:///, postgresql:// and the like",
        )


def _check_server(uri: str) -> None:
    parts = urlsplit(uri)
    if getproxies().get(parts.scheme) and parts.hostname not in ("localhost", "127.0.0.1"):
        return  # only the proxy can tell whether the server is there
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=_CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise RegistryError(
            uri=uri,
            reason=f"no server answers ({error})",
            remedy=f"start it, correct {TRACKING_URI}, or unset that to use {MLFLOW_DATABASE}",
        ) from error


def _check_sqlite(uri: str, path: Path) -> None:
    """Report damage and locks at once; MLflow itself would retry for over a minute."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=_LOCK_TIMEOUT_S, isolation_level=None)) as database:
            database.execute("PRAGMA schema_version").fetchone()
            database.execute("BEGIN IMMEDIATE")
            database.execute("ROLLBACK")
    except (sqlite3.Error, OSError) as error:
        raise registry_error(uri, error) from error
    check_place(path)
