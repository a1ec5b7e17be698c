"""The programs of the guide for clients, as they stand there, against the real service."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Error

from tests.support.browser import chromium
from tests.support.http_service import picture_of, ready, serving, settings_in
from tests.support.serving_models import model_folder

HAPPY = 1
"""A class of the test model; its pictures are of one brightness."""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    # The folder's name is the model's, and the guide calls it as the registry does.
    folder = tmp_path_factory.mktemp("clients") / "emotion"
    folder.mkdir()
    model_folder(folder)
    with serving(settings_in(folder.parent, model=str(folder))) as client:
        yield ready(client)


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder with the pictures that the guide's programs open."""
    for name in ("photo.jpg", "face.jpg", "one.jpg", "two.png"):
        (tmp_path / name).write_bytes(picture_of(HAPPY))
    return tmp_path


@pytest.fixture(scope="module")
def blocks() -> dict[str, list[str]]:
    """Language → the guide's blocks in it, in order."""
    page = Path(__file__).resolve().parents[3] / "docs/clients.md"
    found: dict[str, list[str]] = {}
    for language, text in re.findall(r"```(\w+)\n(.*?)```", page.read_text(), re.DOTALL):
        found.setdefault(language, []).append(text)
    return found


def host(client: httpx.Client) -> str:
    return f"127.0.0.1:{client.base_url.port}"


def ran(script: str, desk: Path, client: httpx.Client) -> str:
    script = script.replace("localhost:8000", host(client))
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=desk, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_python(client: httpx.Client, blocks: dict[str, list[str]], desk: Path) -> None:
    ask, feedback, _ = blocks["python"]
    shown = ran(f"{ask}\n{feedback}\nprint(answer['id'])", desk, client).split()
    assert shown[:3] == ["by", "emotion", "local"]
    kept = client.get(f"/predictions/{shown[-1]}").json()
    assert kept["feedback"] == "sad"


def test_python_tells_the_problem(client: httpx.Client, blocks: dict[str, list[str]], desk: Path) -> None:
    (desk / "photo.jpg").write_bytes(b"no picture")
    with pytest.raises(AssertionError, match="not an image this service reads"):
        ran(blocks["python"][0], desk, client)


def test_tritonclient(client: httpx.Client, blocks: dict[str, list[str]], desk: Path) -> None:
    expected = client.post("/detect?faces=none", content=picture_of(HAPPY)).json()["emotion"]
    likeliest = re.findall(r"[\d.e-]+:\d+:(\w+)", ran(blocks["python"][-1], desk, client))
    assert len(likeliest) == 3
    assert likeliest[0] == expected


def test_curl(client: httpx.Client, blocks: dict[str, list[str]], desk: Path) -> None:
    lines = [line for line in blocks["sh"][0].splitlines() if line.startswith("curl")]
    assert lines
    for line in lines:
        command = shlex.split(line.replace("localhost:8000", host(client)), comments=True)
        done = subprocess.run(
            [*command, "--silent", "--fail-with-body"], cwd=desk, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (line, done.stdout)
    assert (desk / "explained.png").read_bytes().startswith(b"\x89PNG")


def test_javascript(client: httpx.Client, blocks: dict[str, list[str]], tmp_path: Path) -> None:
    function = blocks["js"][0].split("document.querySelector")[0]
    program = f"""async bytes => {{
      {function}
      const file = new File([new Uint8Array(bytes)], "photo.png")
      return detect(file, {{address: location.origin}})
    }}"""
    with chromium(tmp_path) as browser:
        page = browser.new_page()
        page.goto(str(client.base_url))
        answer = page.evaluate(program, list(picture_of(HAPPY)))
        with pytest.raises(Error, match="not an image this service reads"):
            page.evaluate(program, [1, 2, 3])
    assert answer["emotion"] == client.post("/detect", content=picture_of(HAPPY)).json()["emotion"]
