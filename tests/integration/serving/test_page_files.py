"""The page's files over HTTP, without a browser: types, caching, policy; and what the page asks for."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import httpx
import pytest
from jsonschema import Draft202012Validator

from serving.http.auth import hash_key
from tests.support.http_service import ready, serving, settings_in
from tests.support.page_model import group, page_model
from tests.support.serving_models import sha256_of

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml; charset=utf-8",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    page_model(folder / "model")
    return folder


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[httpx.Client]:
    with serving(settings_in(folder, keep_images=0.5, max_bytes=1234567)) as client:
        yield ready(client)


def below(page: httpx.Response) -> str:
    """The folder that the page's files are served from."""
    found = re.search(r"page/[0-9a-f]{16}/", page.text)
    assert found is not None
    return "/" + found[0]


def test_the_page_lets_nothing_in_from_elsewhere(client: httpx.Client) -> None:
    page = client.get("/")
    policy = dict(
        part.strip().partition(" ")[::2] for part in page.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    for kind in ("script-src", "style-src", "img-src", "connect-src"):
        assert policy[kind] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "camera=(self)" in page.headers["permissions-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    # Nothing inline, which the policy would stop, and nothing from another host.
    assert not re.search(
        r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|(?:src|href)=\"(?:https?:)?//", page.text
    )


def test_every_file_is_served_with_its_type_and_may_be_kept_for_ever(client: httpx.Client) -> None:
    prefix = below(client.get("/"))
    root = Path(str(files("serving") / "page"))
    paths = [path for path in root.rglob("*.*") if path.name != "index.html"]
    assert {path.suffix for path in paths} == set(TYPES)
    for path in paths:
        answer = client.get(prefix + path.relative_to(root).as_posix())
        assert answer.content == path.read_bytes()
        assert answer.headers["content-type"] == TYPES[path.suffix]
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"


def test_every_module_is_announced_so_that_none_waits_for_another(client: httpx.Client) -> None:
    page = client.get("/")
    announced = set(re.findall(r'rel="modulepreload" href="page/[0-9a-f]+/js/(\w+\.js)"', page.text))
    assert announced == {path.name for path in Path(str(files("serving") / "page" / "js")).iterdir()}


def test_a_page_that_is_known_is_not_sent_again(client: httpx.Client) -> None:
    page = client.get("/")
    assert page.headers["cache-control"] == "no-cache"
    again = client.get("/", headers={"if-none-match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == page.headers["etag"]
    assert client.get("/", headers={"if-none-match": 'W/"0"'}).status_code == 200


def test_text_is_packed_for_those_who_can_unpack_it(client: httpx.Client) -> None:
    plain = client.get("/", headers={"accept-encoding": "identity"})
    with client.stream("GET", "/", headers={"accept-encoding": "gzip"}) as packed:
        raw = b"".join(packed.iter_raw())
        assert packed.headers["content-encoding"] == "gzip"
        assert packed.headers["vary"] == "accept-encoding"
    assert gzip.decompress(raw) == plain.content
    assert len(raw) < len(plain.content) / 2


@pytest.mark.parametrize(
    "name", ["js/nothing.js", "../index.html", "..%2f..%2fsettings.py", "", "index.html"]
)
def test_nothing_else_is_served(client: httpx.Client, name: str) -> None:
    assert client.get(below(client.get("/")) + name).status_code == 404
    assert client.get("/page/0000000000000000/js/app.js").status_code == 404


def test_about_states_what_is_kept_and_what_may_be_sent(client: httpx.Client) -> None:
    about = client.get("/about").json()
    assert about["access"] == "given"
    assert about["kept"] == {"observations_days": 90, "pictures_fraction": 0.5, "pictures_days": 30}
    assert about["limits"]["bytes"] == 1234567
    assert "image/webp" in about["limits"]["formats"]
    document = client.get("/openapi.json").json()
    for name, body in (("About", about), ("ModelCard", client.get("/model/card").json())):
        schema = {**document["components"]["schemas"][name], "components": document["components"]}
        Draft202012Validator(schema).validate(body)


def test_the_page_needs_no_key_and_says_whether_one_is_needed(folder: Path) -> None:
    key = hash_key("app", "predict", "one")
    with serving(settings_in(folder, api_keys=(key,))) as client:
        page = client.get("/")
        assert page.status_code == client.get(below(page) + "js/app.js").status_code == 200
        assert client.get("/about").json()["access"] == "key"
        assert client.get("/about", headers={"x-api-key": "one"}).json()["access"] == "given"
        assert client.get("/model/card").status_code == 401


def test_the_card_and_the_figures_are_those_of_the_live_model(client: httpx.Client, folder: Path) -> None:
    shown = client.get("/model/card").json()
    assert shown["sha256"] == sha256_of(folder / "model")
    assert shown["card"] == (folder / "model" / "card.md").read_text()
    assert shown["metrics"]["test"]["accuracy"] == 0.813


def test_a_model_without_card_and_metrics_has_nulls(tmp_path: Path) -> None:
    page_model(tmp_path / "model")
    (tmp_path / "model" / "card.md").write_bytes(b"\xff")
    (tmp_path / "model" / "metrics.json").write_text("[1,")
    with serving(settings_in(tmp_path)) as client:
        shown = ready(client).get("/model/card").json()
        assert (shown["card"], shown["metrics"]) == (None, None)


def test_each_face_has_its_own_heatmap_over_its_own_square(client: httpx.Client) -> None:
    answer = client.post("/explain", content=group()).json()
    faces = answer["faces"]
    assert len(faces) == 3
    assert (answer["heatmap"], answer["area"]) == (faces[0]["heatmap"], faces[0]["area"])
    for face in faces:
        box, area = face["box"], face["area"]
        assert area["width"] == area["height"] == round(1.3 * max(box["width"], box["height"]))
        for start, length in (("left", "width"), ("top", "height")):
            assert area[start] + area[length] / 2 == pytest.approx(box[start] + box[length] / 2, abs=1)
