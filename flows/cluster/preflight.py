"""What a cluster engine needs before it can start, looked at in a second and told all at once."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from configparser import ConfigParser
from configparser import Error as ConfigError
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

from prefect.settings import PREFECT_API_URL

from flows.cluster import dvc_transfer
from flows.cluster.backends import ADDRESS, Kind, cluster_settings
from flows.errors import FlowError
from flows.repro.commands import run_git
from flows.repro.workspace import tracking_uri
from pipelines.tracking.runs import TRACKING_URI

_PACKAGES = {"ray": ("ray", "prefect_ray"), "dask": ("distributed", "prefect_dask")}
_CONFIG = ".dvc/config"
# A server on the same site answers a connection in milliseconds.
_CONNECT_TIMEOUT_S = 3.0
_PORTS = {"http": 80, "https": 443}


def missing(kind: Kind, checkout: Path, *, reach: bool) -> list[str]:
    """Everything that a run on this engine would fail for, each with its cure; empty when it can start.

    Args:
        kind: of the cluster.
        checkout: root of the repository.
        reach: whether servers and cluster are also asked for a connection.
    """
    problems = [*_packages(kind), *_settings(checkout), *_remote(checkout)]
    return problems + (list(_silent(checkout)) if reach else [])


def _packages(kind: Kind) -> Iterator[str]:
    for package in _PACKAGES[kind]:
        if find_spec(package) is None:
            yield (
                f"engine {kind}: {package} is not installed; run `make setup`, "
                f"or in a checkout `pip install '.[{kind}]'`"
            )


def _settings(checkout: Path) -> Iterator[str]:
    if not PREFECT_API_URL.value():
        yield (
            "PREFECT_API_URL is not set, and nodes report to a Prefect server; "
            "start one (`make up`) and export the address that it prints"
        )
    uri = tracking_uri(checkout, os.environ)
    if uri.startswith("sqlite:") and os.environ.get(ADDRESS, "").strip():
        yield (
            f"{TRACKING_URI}: it is {uri}, a file of this machine; "
            f"set it to a server that all nodes reach, or unset {ADDRESS}"
        )
    try:
        cluster_settings(checkout)
    except FlowError as error:
        yield str(error)


def _remote(checkout: Path) -> Iterator[str]:
    try:
        name, _ = dvc_transfer.default_remote(checkout)
    except FlowError as error:
        yield str(error)
        return
    committed = run_git(["show", f"HEAD:{_CONFIG}"], checkout, os.environ)
    own = checkout / f"{_CONFIG}.local"
    texts = [committed.output if committed.status == 0 else "", own.read_text() if own.exists() else ""]
    if name not in map(_default, texts):
        yield (
            f"the nodes' DVC remote: {name} is not in the committed {_CONFIG}, and stages run in clones; "
            "commit it, or add the remote with `dvc remote add --local --default …`"
        )


def _default(text: str) -> str | None:
    parsed = ConfigParser(interpolation=None)
    try:
        parsed.read_string(text)
    except ConfigError:
        return None
    return parsed.get("core", "remote", fallback=None)


def _silent(checkout: Path) -> Iterator[str]:
    """What is configured and does not answer."""
    start = "start it, or export the address of one that runs (`make up` prints both)"
    uri = tracking_uri(checkout, os.environ)
    for variable, address, cure in (
        ("PREFECT_API_URL", PREFECT_API_URL.value(), start),
        (TRACKING_URI, uri if uri.startswith("http") else None, start),
        (
            ADDRESS,
            os.environ.get(ADDRESS, "").strip(),
            "start the cluster there, or unset it to have one on this machine while the run lasts",
        ),
    ):
        if address and (reason := _unreachable(address)):
            yield f"{variable}={address}: {reason}; {cure}"


def _unreachable(address: str) -> str | None:
    """Why nothing listens at an address; None where something does, or where only a proxy can tell."""
    parts = urlsplit(address)
    try:
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError as error:
        return str(error)
    if not parts.hostname or port is None:
        return "it names no host and port"
    if getproxies().get(parts.scheme) and parts.hostname not in ("localhost", "127.0.0.1"):
        return None
    try:
        socket.create_connection((parts.hostname, port), timeout=_CONNECT_TIMEOUT_S).close()
    except OSError as error:
        return f"nothing answers there ({error.strerror or error})"
    return None
