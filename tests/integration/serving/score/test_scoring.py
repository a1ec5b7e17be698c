"""Rows of a folder: what the service would have answered, file by file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import httpx
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.errors.requests import BadRequest
from serving.inference.admission import admit
from serving.score.scorer import Scorer, score_folder
from serving.score.shards import PLAN_KEY, ScoringProgress
from serving.settings import Settings
from tests.support.http_service import picture_of, ready, serving, settings_in
from tests.support.onnx_models import CLASSES
from tests.support.pictures import animated, drawn_face, encoded, textured
from tests.support.scoring import pictures_in, scorer_in
from tests.support.serving_models import model_folder

FILES = {
    "faces/one.jpg": encoded(drawn_face(240), "JPEG"),
    "faces/turned.jpg": encoded(textured(3, width=90, height=60), "JPEG", orientation=6),
    "flat/angry.png": picture_of(0),
    "flat/surprise.webp": encoded(textured(5), "WEBP"),
    "zz/animated.webp": animated("WEBP"),
    "zz/cut.png": picture_of(2)[:-20],
    "zz/empty.jpg": b"",
    "zz/large.png": encoded(textured(1, width=900, height=900)),
    "zz/notes.txt": b"not a picture",
    "zz/wide.jpg": encoded(textured(1, width=2000, height=600), "JPEG", quality=30),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for name, data in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def limited(tmp_path: Path) -> Settings:
    return settings_in(tmp_path, max_bytes=200_000, max_pixels=1_000_000)


def answers(client: httpx.Client, faces: str) -> list[tuple[str, httpx.Response]]:
    return [
        (name, client.post("/detect", params={"faces": faces}, content=data)) for name, data in FILES.items()
    ]


@pytest.mark.parametrize("faces", ["auto", "all", "none"])
def test_each_row_is_what_the_service_answers(folder: Path, tmp_path: Path, faces: Any) -> None:
    model_folder(tmp_path / "model")
    settings = limited(tmp_path)
    with serving(settings) as client:
        ready(client)
        answered = answers(client, faces)
        (model,) = (tmp_path / "cache").glob("*/models/*")
        scorer = Scorer.configured(settings, admit(model, threads=1, max_batch=16), faces=faces)
        table = next(scorer.tables(folder, [list(FILES)]))
        for row, (name, answer) in zip(table.to_pylist(), answered, strict=True):
            assert row["path"] == name
            compare(row, answer, client)


def compare(row: dict[str, Any], answer: httpx.Response, client: httpx.Client) -> None:
    body = answer.json()
    if answer.status_code != 200:
        assert row["error"] == body["type"].rpartition(":")[2]
        assert {row[name] for name in ("emotion", "probability", "faces", "box", "entropy")} == {None}
        return
    assert row["error"] is None
    assert row["emotion"] == body["emotion"]
    assert row["faces"] == len(body["faces"])
    assert (row["model_version"], row["model_sha256"]) == (body["model"]["version"], body["model"]["sha256"])
    if body["emotion"] is None:
        assert row["probability"] is None
        return
    # The service rounds to six digits, and may have run the picture in another batch.
    assert row["probability"] == pytest.approx(body["probability"], abs=2e-6)
    expected = {f"p_{name}": pytest.approx(value, abs=2e-6) for name, value in body["probabilities"].items()}
    assert {name: row[name] for name in expected} == expected
    observed = client.get(f"/predictions/{body['id']}").json()
    assert row["box"] == observed["box"]
    assert row["entropy"] == pytest.approx(observed["entropy"], abs=1e-5)
    expected = {name: pytest.approx(value, abs=1e-6) for name, value in observed["input"].items()}
    assert {name: row[name] for name in expected} == expected


def test_the_problems_are_distinguished(folder: Path, tmp_path: Path) -> None:
    """Without the service: by hand, so that a problem shared by both would show."""
    model_folder(tmp_path / "model")
    scorer = scorer_in(tmp_path)
    settings = limited(tmp_path)
    scorer = Scorer.configured(settings, scorer.live, faces="none")
    errors = next(scorer.tables(folder, [[*FILES, "zz/went.png"]]))["error"].to_pylist()
    assert errors == [None] * 4 + [
        "image-unusable",
        "image-unusable",
        "image-unusable",
        "payload-too-large",
        "image-format-unknown",
        "image-too-large",
        "file-unreadable",
    ]


def test_the_file_has_a_row_for_each_file_in_path_order_and_says_how_it_was_made(tmp_path: Path) -> None:
    pictures = pictures_in(tmp_path / "pictures", 50)
    scorer = scorer_in(tmp_path, embedding=True)
    updates: list[ScoringProgress] = []
    result = score_folder(scorer, pictures, tmp_path / "out.parquet", chunk=7, notify=updates.append)
    assert (result.files, result.done, result.failed) == (50, 50, 0)
    assert [progress.done for progress in updates] == [0, 7, 14, 21, 28, 35, 42, 49, 50]
    table = pq.read_table(tmp_path / "out.parquet")
    assert table["path"].to_pylist() == [f"{number:05}.png" for number in range(50)]
    assert table["emotion"].to_pylist() == [CLASSES[number % len(CLASSES)] for number in range(50)]
    assert table["faces"].to_pylist() == [0] * 50
    assert {len(row) for row in table["embedding"].to_pylist()} == {6}
    assert table.schema.names == [
        "path", "error", "emotion", "probability", *(f"p_{name}" for name in CLASSES), "faces", "box",
        "brightness", "contrast", "sharpness", "entropy", "embedding", "model_version", "model_sha256",
    ]  # fmt: skip
    plan = json.loads(table.schema.metadata[PLAN_KEY])
    assert plan["sha256"] == table["model_sha256"][0].as_py()
    assert plan["folder"] == str(pictures.resolve())
    assert not (tmp_path / "out.parquet.parts").exists()


def test_any_number_of_threads_gives_the_same_rows(tmp_path: Path) -> None:
    names = [path.name for path in sorted(pictures_in(tmp_path / "pictures", 40).iterdir())]
    live = scorer_in(tmp_path).live
    reader = scorer_in(tmp_path).reader
    tables = [
        pa.concat_tables(
            Scorer(live, reader, faces="none", max_bytes=10**6, threads=threads).tables(
                tmp_path / "pictures", [names[:33], names[33:]]
            )
        )
        for threads in (1, 4)
    ]
    assert tables[0].equals(tables[1])


def test_faces_that_cannot_be_looked_for_are_refused_before_the_first_file(tmp_path: Path) -> None:
    live = scorer_in(tmp_path).live
    with pytest.raises(BadRequest, match="switched off"):
        Scorer.configured(Settings(face_detector="none"), live, faces="all")


def test_memory_does_not_grow_with_the_number_of_files(tmp_path: Path) -> None:
    small = pictures_in(tmp_path / "small", 300)
    for copy in range(20):
        shutil.copytree(small, tmp_path / "large" / f"{copy}", copy_function=hard_link)
    scorer, process, used = scorer_in(tmp_path), psutil.Process(), []
    score_folder(scorer, small, tmp_path / "small.parquet", chunk=100)
    settled = process.memory_info().rss
    score_folder(
        scorer,
        tmp_path / "large",
        tmp_path / "large.parquet",
        chunk=100,
        notify=lambda progress: used.append(process.memory_info().rss),
    )
    assert len(used) == 61
    assert max(used) - settled < 32 << 20


def hard_link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)
