"""The README's commands, as a reader types them, in the small copy; and that its links lead somewhere."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.debian import program
from tests.support.http_process import free_port
from tests.support.http_service import until
from tests.support.project import Project

PATIENCE_S = 600.0
"""A server's first start on a busy machine."""


@pytest.fixture
def text(repository: Path) -> str:
    return (repository / "README.md").read_text()


@pytest.fixture(scope="module")
def copy(project: Project) -> Project:
    """The copy as its first run left it; this environment is its `.venv`, so that `make` installs nothing."""
    project.restore()
    environment = project.root / ".venv"
    environment.mkdir()
    for path in Path(sys.prefix).iterdir():
        if path.name not in (".installed", "bin"):
            (environment / path.name).symlink_to(path)
    # A folder of its own, where `make` puts `mien`.
    (environment / "bin").mkdir()
    for path in Path(sys.prefix, "bin").iterdir():
        if path.name != "mien":
            (environment / "bin" / path.name).symlink_to(path)
    (environment / ".installed").touch()
    return project


def commands(text: str) -> list[str]:
    without_tour = re.sub(r"<!-- tour -->\n```sh\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    blocks = re.findall(r"^```sh\n(.*?)^```", without_tour, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def shown(text: str, name: str) -> str:
    """The output that the README shows."""
    block = text.partition(f"<!-- output:{name} -->\n")[2].partition(f"<!-- /output:{name} -->")[0]
    assert block, name
    return "\n".join(block.splitlines()[1:-1])


def test_these_are_its_commands(text: str) -> None:
    """A new command needs a test below, or in test_demo.py, as the tour has; the test command runs them."""
    curl = 'curl -F "file=@data/happy/id0001_happy_00.jpg" localhost:8000/detect'
    assert commands(text) == ["make demo", "make run", "make test", "make serve", curl, "make up"]


def test_run_prints_what_the_readme_shows(text: str, copy: Project) -> None:
    shutil.rmtree(copy.root / "mlruns")  # as in a clone: nothing is registered yet
    copy.run("git", "checkout", "--quiet", "--", "mlruns")
    printed = copy.run("make", "run").stdout
    assert "Registered: emotion version 1" in printed
    wanted = [without_values(line) for line in shown(text, "run").splitlines() if not is_row(line)]
    given = {without_values(line) for line in printed.splitlines()}
    assert [line for line in wanted if line not in given] == []


def is_row(line: str) -> bool:
    """Of the table: which networks there are, and what they reached, depends on the profile."""
    return bool(re.search(r" \d\.\d{3} ", line))


def without_values(line: str) -> str:
    """Less the widths of columns, the network that won, the machine, and the place of the checkout."""
    line = re.sub(r"─+", "─", re.sub(r" +", " ", line))
    line = re.sub(r"^p50 on .*", "p50 on …", line)
    return re.sub(r"\((\w+)(-int8)?; ", "(…; ", re.sub(r"file://.*/reports/", "file:///…/reports/", line))


def test_serve_answers_curl_as_the_readme_shows(text: str, copy: Project) -> None:
    [curl] = (line for line in commands(text) if line.startswith("curl"))
    port = free_port()
    with started(copy, "make", "serve", MIEN_PORT=str(port)):
        until(lambda: asked(f"http://localhost:{port}/readyz") == 200, PATIENCE_S)
        command = curl.replace("curl", f"{program('curl', package='curl')} --silent --show-error", 1)
        done = copy.run("bash", "-c", command.replace(":8000", f":{port}"))
    answer = json.loads(done.stdout)
    assert answer["emotion"] in answer["probabilities"]
    assert list(differences(json.loads(shown(text, "detect")), answer)) == []


def differences(wanted: Any, given: Any, place: str = "") -> Iterator[str]:
    """Where names and types of an answer are others than the README's; `…` there stands for more names."""
    if isinstance(wanted, dict) and isinstance(given, dict):
        unknown = set() if "…" in wanted else given.keys() - wanted.keys()
        yield from (f"{place}.{name}" for name in (wanted.keys() - given.keys() - {"…"}) | unknown)
        for name in wanted.keys() & given.keys():
            yield from differences(wanted[name], given[name], f"{place}.{name}")
    elif isinstance(wanted, list) and isinstance(given, list):
        for number, (one, other) in enumerate(zip(wanted, given, strict=False)):
            yield from differences(one, other, f"{place}[{number}]")
    elif type(wanted) is not type(given):
        yield place


def test_up_brings_everything_up_and_ends_with_ctrl_c(copy: Project) -> None:
    ports = {name: str(free_port()) for name in ("MIEN_PORT", "MLFLOW_PORT", "PREFECT_PORT")}
    with started(copy, "make", "up", HOST="127.0.0.1", **ports) as process:
        assert process.stdout is not None
        said = next((line for line in process.stdout if "everything is up" in line), None)
        assert said, "it ended before everything was up"
        until(lambda: asked(f"http://127.0.0.1:{ports['MIEN_PORT']}/readyz") == 200, PATIENCE_S)
        assert asked(f"http://127.0.0.1:{ports['MLFLOW_PORT']}/health") == 200
        assert asked(f"http://127.0.0.1:{ports['PREFECT_PORT']}/api/health") == 200
    assert not any(asked(f"http://127.0.0.1:{port}/") for port in ports.values())


@contextmanager
def started(copy: Project, *command: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A command that stays, ended as by Ctrl-C in a terminal: the whole group gets the signal."""
    with subprocess.Popen(
        command, cwd=copy.root, env=copy.environment(**variables), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
            try:
                process.communicate(timeout=120)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise


def asked(url: str) -> int | None:
    """Status of an answer; None where no server listens."""
    import httpx

    try:
        return httpx.get(url, timeout=30).status_code
    except httpx.TransportError:
        return None


def test_every_link_and_picture_is_there(text: str, repository: Path) -> None:
    addresses = re.findall(r"\]\(([^)]+)\)", text)
    assert len(addresses) > 20
    places = {f"#{title.lower().replace(' ', '-')}" for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}
    assert [one for one in addresses if one not in places and not (repository / one).exists()] == []


def test_every_folder_of_the_layout_is_there(text: str, repository: Path) -> None:
    names = re.findall(r"^(\w+)/ ", text, re.MULTILINE)
    assert len(names) >= 7
    assert all((repository / name).is_dir() for name in names)
