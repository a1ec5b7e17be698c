"""Others' images of docker-compose.yml as programs that run here: PyPI's PostgreSQL, moto, Debian's packages.

The scripts and files that the compose file mounts into them are used as they are, but for addresses.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import yaml

from tests.support.compose_places import PORTS
from tests.support.debian import program
from tests.support.postgres import postgres_on_port
from tests.support.prefect_process import TRIGRAMS
from tests.support.proxy import configured

if TYPE_CHECKING:
    from tests.support.compose_stack import Container


def start_postgres(container: Container, repository: Path, closing: ExitStack) -> None:
    """Start it, and let the mounted script make the databases, as the image does on a new volume."""
    server = closing.enter_context(postgres_on_port(container.place.port))
    container.environment |= {
        "PATH": f"{server.programs}{os.pathsep}{container.environment['PATH']}",
        "PGHOST": str(server.socket),
        "PGPORT": str(container.place.port),
        "POSTGRES_USER": "postgres",
    }
    script = repository / "deploy/docker/postgres/databases.sh"
    assert container.place.folders["/docker-entrypoint-initdb.d/databases.sh"].name == script.name
    subprocess.run(["sh", script], env=container.environment, check=True)
    address = f"host={server.socket} port={container.place.port} user=postgres dbname=prefect"
    with psycopg.connect(address) as connection:
        connection.execute(TRIGRAMS)


def store(container: Container) -> list[str]:
    """What starts moto, which takes any key."""
    return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(container.place.port)]


def worker(container: Container, repository: Path) -> list[str]:
    """What the image installs as `mien-worker`."""
    return script(container, repository / "deploy/docker/worker.sh")


def proxy(container: Container, repository: Path, ports: Mapping[str, int]) -> list[str]:
    """The mounted script, with Debian's nginx and the mounted files."""
    folder = container.place.folders["/tmp"]  # noqa: S108 - the container's
    path = configured(
        repository,
        folder,
        ports=[ports[name] for name in ("proxy", "proxy-mlflow", "proxy-evidently")],
        upstream=[port for name, port in ports.items() if name.startswith("api-")],
        hosts={f"{name}:{PORTS[name]}": f"127.0.0.1:{ports[name]}" for name in ("mlflow", "evidently")},
    )
    nginx = program("nginx", package="nginx")
    return script(
        container,
        repository / "deploy/docker/proxy/start.sh",
        nginx=f'exec {nginx} -p {folder} -c {path} "$@"',
    )


def prometheus(container: Container, repository: Path, ports: Mapping[str, int]) -> list[str]:
    """The mounted script, with Debian's Prometheus; replicas by address instead of by Docker's name."""
    settings = yaml.safe_load((repository / "deploy/prometheus/prometheus.yml").read_text())
    (job,) = settings["scrape_configs"]
    assert job.pop("dns_sd_configs")[0]["names"] == ["api"]
    replicas = [f"127.0.0.1:{port}" for name, port in ports.items() if name.startswith("api-")]
    job["static_configs"] = [{"targets": replicas}]
    settings["global"]["scrape_interval"] = "1s"
    rules = repository / "deploy/prometheus/rules.yml"
    path = container.folder / "prometheus.yml"
    path.write_text(container.place.here(yaml.safe_dump(settings | {"rule_files": [str(rules)]})))
    binary = program("prometheus", package="prometheus")
    listening = f"--web.listen-address=127.0.0.1:{container.place.port} --config.file={path}"
    # Of two options of one name it would refuse to start.
    given = '$(printf "%s\\n" "$@" | grep -v ^--config.file)'
    return script(
        container,
        repository / "deploy/docker/prometheus/start.sh",
        prometheus=f"exec {binary} {given} {listening}",
    )


def script(container: Container, source: Path, **programs: str) -> list[str]:
    """A container's script with this machine's addresses, and programs that it finds on its path."""
    path = container.bin / source.name
    path.write_text(container.place.here(source.read_text()))
    for name, text in programs.items():
        (container.bin / name).write_text(f"#!/bin/sh\n{text}\n")
        (container.bin / name).chmod(0o755)
    return ["sh", str(path)]
