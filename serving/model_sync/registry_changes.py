"""Notices that a registered model may have changed, without MLflow.

Importing MLflow takes 200 MiB and two seconds of a core. A registry that answers the same bytes as at the
last poll names the same version, so most polls need none of it. What the bytes mean, only MLflow decides:
after any difference, and wherever this module cannot look, it is asked.

Two kinds of registry can be watched: MLflow's server (its REST API, version 2.0) and an SQLite file.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sqlite3
import ssl
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from typing import Protocol
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urlencode, urlsplit, urlunsplit
from urllib.request import Request, urlopen

from serving.errors.operation import RegistryUnavailable
from serving.urls import SecretUrl

_SQLITE = "sqlite:///"
_LOCK_TIMEOUT_S = 5.0
# Tables with a column `name`, the registered model's (mlflow/store/model_registry/dbmodels/models.py).
_TABLES = ("registered_models", "registered_model_aliases", "model_versions", "model_version_tags")
_API = "/api/2.0/mlflow"
_PAGE = 10_000
_ANSWER_BYTES = 64 << 20
# With one of these MLflow signs in, or connects, in a way that this module does not know.
_OTHER_WAYS_IN = (
    "MLFLOW_TRACKING_AUTH",
    "MLFLOW_TRACKING_AWS_SIGV4",
    "MLFLOW_TRACKING_CLIENT_CERT_PATH",
    "MLFLOW_TRACKING_INSECURE_TLS",
    "MLFLOW_TRACKING_SERVER_CERT_PATH",
    "MLFLOW_WORKSPACE",
)


class Registry(Protocol):
    """A registry that can be watched."""

    def mark(self) -> str | None:
        """Return a digest of all that the registry knows of the model; None where only MLflow can tell.

        Raises:
            RegistryUnavailable: the registry does not answer.
        """


def watched_registry(name: str, *, tracking_uri: str) -> Registry | None:
    """Return what watches the registered model; None for a registry that cannot be watched.

    Args:
        name: of the registered model.
        tracking_uri: of the registry, as MLflow reads it.
    """
    if tracking_uri.startswith(_SQLITE):
        return RegistryFile(name, tracking_uri)
    is_plain = not any(os.environ.get(variable) for variable in _OTHER_WAYS_IN)
    if tracking_uri.startswith(("http://", "https://")) and is_plain:
        return RegistryServer(name, tracking_uri)
    return None


def check_registry_file(uri: SecretUrl) -> None:
    """Check an SQLite registry: MLflow creates a missing file and retries a damaged one for a minute.

    Raises:
        RegistryUnavailable: there is no such file.
        sqlite3.Error: the file cannot be read.
    """
    if (path := _path_of(uri)) is not None:
        with closing(_opened(path, uri)) as database:
            database.execute("SELECT name FROM sqlite_master LIMIT 1").fetchone()


class RegistryFile:
    """The rows of one model in an SQLite registry."""

    def __init__(self, name: str, tracking_uri: str) -> None:
        self._name = name
        self._uri = SecretUrl(tracking_uri)

    def mark(self) -> str | None:
        """See `Registry.mark`; None if the file has other tables than MLflow 3's."""
        path = _path_of(self._uri)
        try:
            with closing(_opened(path, self._uri)) as database:
                known = {row[0] for row in database.execute("SELECT name FROM sqlite_master")}
                if not known.issuperset(_TABLES):
                    return None
                # One transaction, so that the tables belong together.
                database.execute("BEGIN")
                digest = hashlib.sha256()
                for table in _TABLES:
                    statement = f"SELECT * FROM {table} WHERE name = ?"  # noqa: S608 - one of _TABLES
                    rows = database.execute(statement, (self._name,))
                    digest.update(f"{table} {sorted(map(repr, rows))}\n".encode())
        except sqlite3.Error as error:
            raise RegistryUnavailable(f"the registry {self._uri} cannot be used: {error}") from error
        return digest.hexdigest()


class RegistryServer:
    """What MLflow's server answers about one model."""

    def __init__(self, name: str, tracking_uri: str) -> None:
        self._name = name
        self._uri = SecretUrl(tracking_uri.rstrip("/"))

    def mark(self) -> str | None:
        """See `Registry.mark`; None for an answer that is not a success, or not one of MLflow's."""
        digest = hashlib.sha256()
        try:
            for status, body in self._answers():
                if status not in (200, 404) or not body.lstrip().startswith(b"{"):
                    return None
                digest.update(b"%d %d " % (status, len(body)) + body)
        except (ValueError, HTTPException):
            return None
        except OSError as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, ssl.SSLError):
                return None  # MLflow brings certificates of its own
            raise RegistryUnavailable(f"the registry {self._uri} cannot be used: {reason}") from error
        return digest.hexdigest()

    def _answers(self) -> Iterator[tuple[int, bytes]]:
        yield self._get("registered-models/get", {"name": self._name})
        asked = {"filter": f"name='{self._name}'", "max_results": str(_PAGE)}
        while True:
            status, body = self._get("model-versions/search", asked)
            yield status, body
            token = json.loads(body).get("next_page_token") if status == 200 else None
            if not token:
                return
            asked["page_token"] = token

    def _get(self, endpoint: str, parameters: dict[str, str]) -> tuple[int, bytes]:
        url, headers = _with_sign_in(self._uri.reveal())
        address = f"{url}{_API}/{endpoint}?{urlencode(parameters, quote_via=quote)}"
        # Only http and https: see `watched_registry`.
        request = Request(address, headers=headers)  # noqa: S310
        timeout_s = float(os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT", "10"))
        try:
            with urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
                return answer.status, answer.read(_ANSWER_BYTES)
        except HTTPError as error:
            with error:
                return error.code, error.read(_ANSWER_BYTES)


def _with_sign_in(uri: str) -> tuple[str, dict[str, str]]:
    """Return the URI without its user, and the header that signs in as MLflow's client would.

    The address counts before the variables, and there a name before a token.
    """
    parts = urlsplit(uri)
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    user, password = os.environ.get("MLFLOW_TRACKING_USERNAME"), os.environ.get("MLFLOW_TRACKING_PASSWORD")
    if parts.username:
        user, password = unquote(parts.username), unquote(parts.password or "")
    if user and password is not None:
        encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
        return bare, {"Authorization": f"Basic {encoded}"}
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return bare, {"Authorization": f"Bearer {token}"}
    return bare, {}


def _path_of(uri: SecretUrl) -> Path | None:
    """Return the file of an SQLite registry; None for any other."""
    value = uri.reveal()
    return Path(value.removeprefix(_SQLITE)) if value.startswith(_SQLITE) else None


def _opened(path: Path | None, uri: SecretUrl) -> sqlite3.Connection:
    if path is None or not path.is_file():
        raise RegistryUnavailable(f"there is no registry at {uri}; `make run` creates one")
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_LOCK_TIMEOUT_S, isolation_level=None
    )
