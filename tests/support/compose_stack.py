"""docker-compose.yml's programs side by side as processes of this machine, with its commands and variables.

What Docker does is done here in small: images' variables, volumes, health checks, the order of starting,
replicas, `exec`, `stop`, `kill`. Others' images have stand-ins (tests.support.compose_standins).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.support import compose_standins
from tests.support.compose import compose, variables_in
from tests.support.compose_places import PORTS, Image, Place, folders, read_image
from tests.support.http_process import free_port

# A hundred migrations and imports of seconds, side by side, on a machine that may be ten times slower.
PATIENCE_S = 900.0


@dataclass(kw_only=True)
class Container:
    """One program."""

    service: str
    place: Place
    environment: dict[str, str]
    folder: Path
    """That it is started in."""
    bin: Path
    """First on its path."""
    log: Path
    process: subprocess.Popen[bytes] | None = None
    healthy: bool = False


@dataclass(kw_only=True)
class Stack:
    """All of them; named as the file names services, and replicas `api-1`, `api-2`."""

    repository: Path
    source: Path
    """What is mounted as the checkout that the worker clones."""
    folder: Path
    variables: Mapping[str, str]
    """Of `.env`."""
    keys: Mapping[str, str]
    """Of the service, in plain text."""
    services: Mapping[str, Any]
    ports: Mapping[str, int]
    closing: ExitStack = field(repr=False)
    containers: dict[str, Container] = field(default_factory=dict)

    def url(self, name: str) -> str:
        """Address of a container."""
        return f"http://127.0.0.1:{self.ports[name]}"

    def start(self, *names: str) -> None:
        """Start them one after the other, each when what it depends on is healthy or has ended well."""
        for name in names:
            for needed in self.services[_service(name)].get("depends_on", {}):
                for other in [other for other in self.containers if _service(other) == needed]:
                    self.wait(other)
            self.containers[name] = self._started(name)

    def wait(self, *names: str) -> None:
        """Until they are healthy, or have ended well where they are to end."""
        deadline = time.monotonic() + PATIENCE_S
        for name in names:
            container = self.containers[name]
            while not (container.healthy or self._is_healthy(name)):
                assert time.monotonic() < deadline, f"{name}: not healthy; {said(container)}"
                time.sleep(0.3)
            container.healthy = True

    def run(self, name: str, *command: str, folder: str | None = None) -> str:
        """What `docker compose exec` prints; with `--workdir`."""
        container = self.containers[name]
        done = subprocess.run(
            command,
            cwd=container.folder if folder is None else container.place.here(folder),
            env=container.environment, capture_output=True, text=True, timeout=PATIENCE_S,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def stop(self, name: str) -> int:
        """As `docker stop`: the signal that the file names; returns the exit status."""
        container = self.containers[name]
        service = self.services[container.service]
        given = signal.Signals[service.get("stop_signal", "SIGTERM")]
        grace_s = float(service.get("stop_grace_period", "10s").removesuffix("s"))
        # Ten times as long as Docker waits: the machine may be as much slower.
        return _end(container, given, patience_s=10 * grace_s)

    def kill(self, name: str) -> None:
        """As `docker kill`: at once, and nothing of the container is left."""
        _end(self.containers[name], signal.SIGKILL, patience_s=PATIENCE_S)

    def logs(self) -> str:
        """What all have said."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log")))

    def _is_healthy(self, name: str) -> bool:
        """Whether the file's own check holds."""
        container = self.containers[name]
        ended = None if container.process is None else container.process.poll()
        check = self.services[container.service]["healthcheck"]
        if "test" not in check and ended == 0:
            return True
        assert ended is None, f"{name} ended with {ended}; {said(container)}"
        return "test" in check and _holds(container, check["test"])

    def _started(self, name: str) -> Container:
        container = self._container(name)
        match container.service:
            case "postgres":
                compose_standins.start_postgres(container, self.repository, self.closing)
                return container
            case "store":
                command = compose_standins.store(container)
            case "worker":
                command = compose_standins.worker(container, self.repository)
            case "proxy":
                command = compose_standins.proxy(container, self.repository, self.ports)
            case "prometheus":
                command = compose_standins.prometheus(container, self.repository, self.ports)
            case _:
                command = [container.place.here(word) for word in self.services[container.service]["command"]]
        with container.log.open("ab") as log:
            container.process = subprocess.Popen(
                command, cwd=container.folder, env=container.environment, stdin=subprocess.DEVNULL,
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self.closing.callback(_take_down, container)
        return container

    def _container(self, name: str) -> Container:
        service = self.services[_service(name)]
        own = self.folder / name
        (own / "bin").mkdir(parents=True, exist_ok=True)
        found = folders(service, own=own, volumes=self.folder / "volumes", repository=self.source)
        place = Place(
            port=self.ports.get(name, 0), own=PORTS.get(_service(name), 0), ports=self.ports, folders=found
        )
        image = Image(environment={}, programs=(), git={})
        if "build" in service:
            image = read_image(self.repository / service["build"]["dockerfile"])
        for program in image.programs:
            link = found["/app"] / program
            link.unlink(missing_ok=True)
            link.symlink_to(self.repository / program)
        home = own if image.programs == () else found["/app"]
        return Container(
            service=_service(name),
            place=place,
            environment=self._environment(own, image, service.get("environment", {}), place),
            folder=found["/var/lib/mien"] if name in ("prefect", "worker", "evidently") else home,
            bin=own / "bin",
            log=self.folder / f"{name}.log",
        )

    def _environment(self, own: Path, image: Image, given: Mapping[str, Any], place: Place) -> dict[str, str]:
        git = own / "gitconfig"
        git.write_text(
            "".join("[{}]\n{} = {}\n".format(*key.split("."), value) for key, value in image.git.items())
        )
        path = [str(own / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
        machine = {"PATH": os.pathsep.join(path), "LC_ALL": "C.UTF-8", "GIT_CONFIG_SYSTEM": str(git)}
        machine["TMPDIR"] = str(own / "tmp")
        variables = dict(image.environment) | dict(given)
        return machine | {name: place.here(str(value)) for name, value in variables.items()}


@contextmanager
def composed(repository: Path, source: Path, folder: Path, **variables: str) -> Iterator[Stack]:
    """A stack of which nothing runs yet; at the end everything is stopped.

    Args:
        repository: with the compose file.
        source: the checkout that is mounted into the worker.
        folder: for volumes, logs, `.env`.
        variables: changes of `.env`.
    """
    output = subprocess.run(
        [sys.executable, repository / "deploy/new-env"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    given = variables_in(folder / ".env") | variables
    names = [name for name in PORTS if name != "api"]
    with ExitStack() as closing:
        yield Stack(
            repository=repository,
            source=source,
            folder=folder,
            variables=given,
            keys=dict(re.findall(r"^key of (\w+), .*: +(\S+)$", output, re.MULTILINE)),
            services=compose(repository, given)["services"],
            ports={
                name: free_port() for name in [*names, "api-1", "api-2", "proxy-mlflow", "proxy-evidently"]
            },
            closing=closing,
        )


def said(container: Container) -> str:
    """The end of what a container has said."""
    return container.log.read_text(errors="replace")[-4000:] if container.log.exists() else "nothing"


def _service(name: str) -> str:
    return name.partition("-")[0]


def _holds(container: Container, check: list[str]) -> bool:
    assert check[0] == "CMD"
    command = [container.place.here(word) for word in check[1:]]
    if command[0] == "wget":  # which not every machine has
        return _answers(command[-1], any_status=container.service == "store")
    try:
        done = subprocess.run(
            command, env=container.environment, cwd=container.folder, capture_output=True, timeout=60
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _answers(url: str, *, any_status: bool) -> bool:
    try:
        status = httpx.get(url, timeout=10).status_code
    except httpx.TransportError:
        return False
    return any_status or status == 200


def _take_down(container: Container) -> None:
    """As `docker compose down`: killed when its time is over; how it ends by itself is for `Stack.stop`."""
    with suppress(subprocess.TimeoutExpired):
        _end(container, signal.SIGTERM, patience_s=30)


def _end(container: Container, given: signal.Signals, *, patience_s: float) -> int:
    """Signal the program, wait for it, and kill what it leaves behind, as the end of a container does."""
    process = container.process
    assert process is not None
    if process.poll() is None:
        process.send_signal(given)
    try:
        return process.wait(patience_s)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
