"""Exchanges over HTTP: no request fails, answers come from live versions, memory stays."""

from __future__ import annotations

from pathlib import Path

import httpx
import psutil

from tests.load.promotions import check, run
from tests.support.http_process import running
from tests.support.http_service import picture_of, until
from tests.support.onnx_models import make_contract
from tests.support.serving_models import model_folder, sha256_of

# `python -m tests.load.promotions --seconds 60` is the same, longer.
PROMOTIONS = 12
# The heap settles in about 20 exchanges (162 to 170–175 MB in three runs of 120) and is flat from there.
SWAPS, WARM_UP = 50, 25


def test_promoting_every_second_under_load_fails_no_request(tmp_path: Path) -> None:
    record = run(tmp_path, promotions=PROMOTIONS)
    check(record)
    assert len(record.answers) > PROMOTIONS
    # On a slow machine a look at the registry takes longer than a second, and misses some.
    assert len(record.switches) - 1 >= PROMOTIONS // 4


def test_fifty_exchanges_leave_the_answering_process_as_large_as_it_was(tmp_path: Path) -> None:
    contract = make_contract(side=96)
    files = [
        model_folder(tmp_path / str(seed), seed=seed, contract=contract, self_test=False) / "model.onnx"
        for seed in (1, 2)
    ]
    live, data, used = tmp_path / "model" / "model.onnx", picture_of(3, side=96), []
    live.parent.mkdir()
    put(files[0], live)
    with running(tmp_path, MIEN_POLL_S="0.05", MIEN_ACCESS_LOG="false") as (process, client):
        answering = psutil.Process(process.pid)
        for number in range(1, 1 + WARM_UP + SWAPS):
            put(files[number % 2], live)
            wanted = sha256_of(live.parent)
            until(lambda wanted=wanted: answered_by(client, data) == wanted)
            used.append(answering.memory_info().rss)
    assert max(used[-10:]) <= 1.1 * max(used[:WARM_UP]), used


def put(file: Path, target: Path) -> None:
    """As a person should copy a model: it is there whole or not at all."""
    new = target.with_suffix(".new")
    new.write_bytes(file.read_bytes())
    new.replace(target)


def answered_by(client: httpx.Client, data: bytes) -> str:
    answers = [client.post("/detect?faces=none", content=data) for _ in range(4)]
    assert {answer.status_code for answer in answers} == {200}
    return str(answers[-1].json()["model"]["sha256"])
