"""MIEN_TARGET_P99_MS on a real service: what is said about the limit, and the batches that it makes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.http_service import picture_of, ready, serving, settings_in
from tests.support.onnx_models import CLASSES
from tests.support.serving_models import model_folder

FILES = 32


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model_folder(tmp_path / "model")
    return tmp_path


def batches(client: httpx.Client) -> Any:
    return client.get("/model").json()["batches"]


def sizes(client: httpx.Client) -> tuple[float, float]:
    """Number of batches so far, and how many of them had one picture."""
    text = client.get("/metrics").text
    (every,) = re.findall(r"^mien_batch_images_count ([\d.]+)$", text, re.MULTILINE)
    (single,) = re.findall(r'^mien_batch_images_bucket\{le="1.0"\} ([\d.]+)$', text, re.MULTILINE)
    return float(every), float(single)


def ask_for_many(client: httpx.Client) -> None:
    files = [("file", (f"{index}.png", picture_of(index % 7))) for index in range(FILES)]
    results = client.post("/detect/batch?faces=none", files=files).json()["results"]
    assert [entry["result"]["emotion"] for entry in results] == [CLASSES[index % 7] for index in range(FILES)]


def test_a_target_that_one_picture_exceeds_makes_batches_of_one(folder: Path) -> None:
    with serving(settings_in(folder, threads=1, target_p99_ms=0.001, timeout_s=60)) as client:
        ready(client)
        assert batches(client)["max_images"] == 1
        ask_for_many(client)
        assert sizes(client) == (FILES, FILES)
        said = batches(client)
        assert (said["max_images"], said["target_p99_ms"]) == (1, 0.001)
        assert "more than 0.001 ms" in said["reason"]


@pytest.mark.parametrize(
    ("target_p99_ms", "batch_size"), [(60_000, 16), (60_000, 8), (None, 16)], ids=["far", "8", "none"]
)
def test_a_target_that_is_far_away_or_absent_leaves_the_setting(
    folder: Path, target_p99_ms: float | None, batch_size: int
) -> None:
    settings = settings_in(folder, threads=1, target_p99_ms=target_p99_ms, batch_size=batch_size)
    with serving(settings) as client:
        ready(client)
        ask_for_many(client)
        every, single = sizes(client)
        assert every < FILES
        assert single < every
        said = batches(client)
        assert (said["max_images"], said["target_p99_ms"]) == (batch_size, target_p99_ms)
        assert said["reason"].startswith("MIEN_BATCH_SIZE")


def test_without_a_model_there_is_no_limit_to_speak_of(tmp_path: Path) -> None:
    with serving(settings_in(tmp_path)) as client:
        assert batches(client) is None
