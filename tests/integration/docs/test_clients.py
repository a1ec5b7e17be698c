"""The programs of the guide for clients, as they stand there, against the real service."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Error

from serving.http.auth import hash_key
from tests.support.browser import chromium
from tests.support.client_package import SOURCE, build_wheel
from tests.support.http_service import picture_of, ready, serving, settings_in, until
from tests.support.page_model import group
from tests.support.pictures import colored, encoded
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


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package `mien-client`, as `pip` installs it; Python reads it without unpacking it."""
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def ran(
    script: str, desk: Path, client: httpx.Client, *, library: Path | None = None, typed: str = ""
) -> str:
    script = script.replace("localhost:8000", host(client))
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=desk,
        input=typed,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | ({"PYTHONPATH": str(library)} if library else {}),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_package(client: httpx.Client, blocks: dict[str, list[str]], desk: Path, wheel: Path) -> None:
    blocking, concurrent, traced = blocks["python"][:3]
    shown = ran(f"{blocking}\nprint(answer.id)", desk, client, library=wheel).splitlines()
    emotion = client.post("/detect", content=picture_of(HAPPY)).json()["emotion"]
    assert shown[:-1] == ["by emotion local", f"one.jpg {emotion}", f"two.png {emotion}"]
    assert client.get(f"/predictions/{shown[-1]}").json()["feedback"] == "sad"
    assert (desk / "explained.png").read_bytes().startswith(b"\x89PNG")
    assert ran(concurrent, desk, client, library=wheel) == f"{[emotion] * 2}\n"
    span = """
from opentelemetry.sdk.trace import TracerProvider
with TracerProvider().get_tracer("test").start_as_current_span("test") as span:
    try:
        client.detect(b"no picture")
    except MienError as error:
        print(error.sent.traceparent, f"{span.get_span_context().trace_id:032x}")
"""
    imports = "from mien_client import Client, MienError"
    traceparent, trace_id = ran(f"{imports}\n{traced}\n{span}", desk, client, library=wheel).split()
    assert traceparent.split("-")[1] == trace_id


@pytest.mark.parametrize(
    ("data", "said"), [(b"no picture", "send another picture"), (b"", "send another picture")]
)
def test_the_package_tells_the_problem(
    client: httpx.Client, blocks: dict[str, list[str]], desk: Path, wheel: Path, data: bytes, said: str
) -> None:
    (desk / "photo.jpg").write_bytes(data)
    with pytest.raises(AssertionError, match=said):
        ran(blocks["python"][0], desk, client, library=wheel)


def test_labelling_by_a_program(desk: Path, wheel: Path, repository: Path) -> None:
    [program] = re.findall(r"```python\n(.*?)```", (repository / "docs/labelling.md").read_text(), re.DOTALL)
    model_folder(desk / "model")
    keys = (hash_key("anna", "label", "KEY"), hash_key("app", "predict", "other"))
    with serving(settings_in(desk, keep_images=1.0, api_keys=keys)) as client:
        app = httpx.Client(base_url=client.base_url, headers={"authorization": "Bearer other"})
        # Flat pictures would be near-duplicates.
        sent = [ready(app).post("/detect", content=encoded(colored(number))) for number in range(3)]
        ids = [answer.json()["id"] for answer in sent]
        until(lambda: all(app.get(f"/predictions/{id}").json()["picture_kept"] for id in ids))
        shown = ran(program, desk, client, library=wheel, typed="sad\nskip\nnot-a-face\n").splitlines()
        labels = client.get("/labels", headers={"authorization": "Bearer KEY"}).json()
        app.close()
    assert shown[-1].endswith("2 labels, alpha None")
    assert (labels["labels"], labels["skips"], labels["pictures"]["open"]) == (2, 1, 2)
    assert (desk / "face.jpg").read_bytes().startswith(b"\xff\xd8")


def test_the_readme_of_the_package(client: httpx.Client, desk: Path, wheel: Path) -> None:
    [program] = re.findall(r"```python\n(.*?)```", (SOURCE / "README.md").read_text(), re.DOTALL)
    (desk / "photo.jpg").write_bytes(group())
    shown = ran(program, desk, client, library=wheel).splitlines()
    answer = client.post("/detect", content=group()).json()
    assert [line.split()[0] for line in shown] == [face["emotion"] for face in answer["faces"]]
    assert shown


def test_python(client: httpx.Client, blocks: dict[str, list[str]], desk: Path) -> None:
    *_, ask, feedback, _ = blocks["python"]
    shown = ran(f"{ask}\n{feedback}\nprint(answer['id'])", desk, client).split()
    assert shown[:3] == ["by", "emotion", "local"]
    kept = client.get(f"/predictions/{shown[-1]}").json()
    assert kept["feedback"] == "sad"


def test_python_tells_the_problem(client: httpx.Client, blocks: dict[str, list[str]], desk: Path) -> None:
    (desk / "photo.jpg").write_bytes(b"no picture")
    with pytest.raises(AssertionError, match="not an image this service reads"):
        ran(blocks["python"][-3], desk, client)


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
