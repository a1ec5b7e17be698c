"""The proxy's own configuration for Debian's nginx, on ports and in a folder of a test."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

LISTENS = (8080, 5000, 8085)
"""Ports in the container: the service, MLflow, Evidently's pages."""


def configured(
    repository: Path,
    folder: Path,
    *,
    ports: Sequence[int],
    upstream: Sequence[int],
    hosts: Mapping[str, str] | None = None,
) -> Path:
    """Write the proxy's files into a folder; returns nginx.conf.

    Args:
        repository: whose `deploy/docker/proxy` it is.
        folder: for the files, and for what nginx writes.
        ports: in place of `LISTENS`.
        upstream: ports of the service's replicas, which stand there by address instead of by Docker's name.
        hosts: addresses in place of containers' names, `{"mlflow:5000": "127.0.0.1:12345"}`.
    """
    source = repository / "deploy/docker/proxy"
    text = (source / "nginx.conf").read_text()
    for wanted, given in zip(LISTENS, ports, strict=True):
        assert text.count(f"listen {wanted};") == 1
        text = text.replace(f"listen {wanted};", f"listen 127.0.0.1:{given};")
    for name, address in (hosts or {}).items():
        assert text.count(f"http://{name};") == 1
        text = text.replace(f"http://{name};", f"http://{address};")
    text = re.sub(r"(?<=\s)/tmp/", f"{folder}/", text)
    # Left behind beside pytest's report: what nginx tried, and why it gave up.
    text = text.replace("/dev/stdout", f"{folder}/access.log").replace(
        "error_log stderr", f"error_log {folder}/error.log"
    )
    # Started by root, its workers would be a user who cannot read pytest's folders.
    user = "user root;\n" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(user + text)
    (folder / "api.conf").write_text((source / "api.conf").read_text())
    servers = "".join(f"  server 127.0.0.1:{port} max_fails=3 fail_timeout=2s;\n" for port in upstream)
    (folder / "upstream.conf").write_text(
        "resolver 127.0.0.1; resolver_timeout 1s;\n"
        f"upstream api {{\n  zone api 64k;\n  least_conn;\n{servers}  keepalive 32;\n}}\n"
    )
    folder.chmod(0o755)
    return folder / "nginx.conf"
