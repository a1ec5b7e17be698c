"""A restart of the service while clients call it."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mien_client import AsyncClient, Client, Retries
from tests.support.http_process import START_S, free_port, running
from tests.support.http_service import picture_of
from tests.support.onnx_models import CLASSES
from tests.support.serving_models import model_folder

PATIENT = Retries(limit=10_000, cap_s=0.5)
"""Limited by the deadline alone: on a busy machine a start takes long."""


def test_calls_outlast_a_restart(tmp_path: Path) -> None:
    model_folder(tmp_path / "model")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    restarted = threading.Event()

    def blocking() -> list[str | None]:
        with Client(url, retries=PATIENT, deadline_s=2 * START_S) as client:
            found = [client.detect(picture_of(1)).emotion]
            while not restarted.is_set():
                found.append(client.detect(picture_of(1)).emotion)
            return [*found, client.detect(picture_of(1)).emotion]

    async def concurrent() -> list[str | None]:
        async with AsyncClient(url, retries=PATIENT, deadline_s=2 * START_S) as client:
            found = [(await client.detect(picture_of(2))).emotion]
            while not restarted.is_set():
                found.append((await client.detect(picture_of(2))).emotion)
            return [*found, (await client.detect(picture_of(2))).emotion]

    with ThreadPoolExecutor(2) as pool:
        with running(tmp_path, MIEN_PORT=str(port)):
            answers = [pool.submit(blocking), pool.submit(asyncio.run, concurrent())]
            # Both have connections in their pools.
            with Client(url) as client:
                client.detect(picture_of(1))
        with running(tmp_path, MIEN_PORT=str(port)):
            restarted.set()
            assert set(answers[0].result(START_S)) == {CLASSES[1]}
            assert set(answers[1].result(START_S)) == {CLASSES[2]}
