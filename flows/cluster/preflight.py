"""Checks before a run on a cluster engine: finds every problem within seconds and reports them together."""

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
from flows.cluster.backends import ADDRESS, ClusterKind, cluster_settings
from flows.errors import FlowError
from flows.repro.commands import run_git
from flows.repro.workspace import tracking_uri
from pipelines.tracking.runs import TRACKING_URI

_PACKAGES = {"ray": ("ray", "prefect_ray"), "dask": ("distributed", "prefect_dask")}
_CONFIG = ".dvc/config"
# A server on the same site answers a connection in milliseconds.
_CONNECT_TIMEOUT_S = 3.0
_PORTS = {"http": 80, "https": 443}


def find_problems(kind: ClusterKind, checkout: Path, *, check_servers: bool) -> list[str]:
    """Everything that would make a run on this engine fail, each with its remedy; empty if it can start.

    Args:
        kind: of the cluster.
        checkout: root of the repository.
        check_servers: whether to try a connection to each server and the cluster.
    """
    problems = [*_packages(kind), *_settings(checkout), *_remote(checkout)]
    return problems + (list(_unreachable_servers(checkout)) if check_servers else [])


def _packages(kind: ClusterKind) -> Iterator[str]:
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
            f"{TRACKING_URI}: got {uri}, a file of this machine; "
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
    local = checkout / f"{_CONFIG}.local"
    texts = [committed.output if committed.status == 0 else "", local.read_text() if local.exists() else ""]
    if name not in map(_default_remote, texts):
        yield (
            f"the nodes' DVC remote: {name} is not in the committed {_CONFIG}, which the clones use; "
            "commit it, or add the remote with `dvc remote add --local --default …`"
        )


def _default_remote(text: str) -> str | None:
    parsed = ConfigParser(interpolation=None)
    try:
        parsed.read_string(text)
    except ConfigError:
        return None
    return parsed.get("core", "remote", fallback=None)


def _unreachable_servers(checkout: Path) -> Iterator[str]:
    """Configured servers that do not answer."""
    start = "start it, or export the address of one that runs (`make up` prints both)"
    uri = tracking_uri(checkout, os.environ)
    for variable, address, remedy in (
        ("PREFECT_API_URL", PREFECT_API_URL.value(), start),
        (TRACKING_URI, uri if uri.startswith("http") else None, start),
        (
            ADDRESS,
            os.environ.get(ADDRESS, "").strip(),
            "start the cluster there, or unset it to run one on this machine",
        ),
    ):
        if address and (reason := _unreachable(address)):
            yield f"{variable}={address}: {reason}; {remedy}"


def _unreachable(address: str) -> str | None:
    """Why a connection to an address fails; None if it succeeds, or if it needs a proxy."""
    parts = urlsplit(address)
    try:
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError as error:
        return str(error)
    if not parts.hostname or port is None:
        return "it has no host or no port"
    if getproxies().get(parts.scheme) and parts.hostname not in ("localhost", "127.0.0.1"):
        return None
    try:
        socket.create_connection((parts.hostname, port), timeout=_CONNECT_TIMEOUT_S).close()
    except OSError as error:
        return f"nothing answers there ({error.strerror or error})"
    return None
