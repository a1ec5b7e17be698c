"""Models that would take the service down: graphs that never end, files that read other files."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.http_process import PYTHON_M, START_S, environment, free_port
from tests.support.http_service import picture_of, ready, serving, settings_in, until
from tests.support.onnx_models import CLASSES
from tests.support.serving_models import copied, model_folder, sha256_of
from tests.support.streams import metric

LIMIT_S = 1.0
# Far beyond any test: what ends earlier was not ended by the watchdog's limit.
NO_LIMIT_S = 3600
BRIGHT = len(CLASSES) - 1
# No warm-up is as bright as the brightest class.
ABOVE_WARM_UP = 0.8


def refused(client: httpx.Client) -> dict[str, str]:
    return client.get("/model").json()["following"]["refused"] or {}


def answer(client: httpx.Client, index: int) -> httpx.Response:
    return client.post("/detect?faces=none", content=picture_of(index))


def test_a_graph_that_never_ends_is_refused_by_digest_and_good_models_are_followed(tmp_path: Path) -> None:
    endless = model_folder(tmp_path / "endless", endless_above=0.0)
    followed = copied(endless, tmp_path / "model")
    with serving(settings_in(tmp_path, model_timeout_s=LIMIT_S)) as client:
        until(lambda: refused(client))
        assert refused(client)["step"] == "warm-up"
        assert refused(client)["sha256"] == sha256_of(endless)
        assert "MIEN_MODEL_TIMEOUT_S" in refused(client)["reason"]
        # The cause is shown to clients that ask why no model is live, and nothing else is.
        assert "MIEN_MODEL_TIMEOUT_S" in client.get("/readyz").json()["detail"]
        assert client.get("/model").json()["following"]["problem"] is None

        good = model_folder(tmp_path / "good", seed=1)
        copied(good, followed)
        ready(client)
        until(lambda: refused(client) == {})
        assert answer(client, 3).json()["emotion"] == CLASSES[3]

        # The same file again, with something new beside it: known by its digest, it is not run again.
        (endless / "card.md").write_text("registered again")
        copied(endless, followed)
        until(lambda: refused(client).get("sha256") == sha256_of(endless))
        assert answer(client, 3).json()["model"]["sha256"] == sha256_of(good)


def test_a_live_model_that_does_not_come_back_is_replaced_by_the_one_before(tmp_path: Path) -> None:
    good = model_folder(tmp_path / "good", seed=1)
    faulty = model_folder(tmp_path / "faulty", seed=2, endless_above=ABOVE_WARM_UP)
    followed = copied(good, tmp_path / "model")
    with serving(settings_in(tmp_path, model_timeout_s=LIMIT_S, threads=1)) as client:
        ready(client)
        # The answers that are stored with the good model are not this one's.
        (followed / "selftest.npz").unlink()
        copied(faulty, followed)
        until(lambda: client.get("/model").json()["live"]["sha256"] == sha256_of(faulty))
        assert answer(client, 1).json()["emotion"] == CLASSES[1]

        assert answer(client, BRIGHT).status_code == 503
        until(lambda: refused(client).get("step") == "run")
        assert refused(client)["sha256"] == sha256_of(faulty)
        ready(client)
        assert client.get("/model").json()["live"]["sha256"] == sha256_of(good)
        assert answer(client, BRIGHT).json()["emotion"] == CLASSES[BRIGHT]


def test_without_another_model_it_is_out_of_service(tmp_path: Path) -> None:
    model_folder(tmp_path / "model", endless_above=ABOVE_WARM_UP)
    with serving(settings_in(tmp_path, model_timeout_s=LIMIT_S, threads=1)) as client:
        ready(client)
        assert answer(client, BRIGHT).status_code == 503
        until(lambda: client.get("/readyz").status_code == 503)
        # Those that come now do not wait for the model.
        before = metric(client, "mien_batch_images_count")
        assert answer(client, 1).json()["type"] == "urn:mien:problem:not-ready"
        assert metric(client, "mien_batch_images_count") == before
        assert refused(client)["step"] == "run"


@contextmanager
def started(folder: Path, **given: str) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    """The process and a client, as soon as it answers anything."""
    port = free_port()
    process = subprocess.Popen(
        PYTHON_M,
        env=environment(folder, MIEN_PORT=str(port), **given),
        stderr=subprocess.DEVNULL,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            until(lambda: lives(client), START_S)
            yield process, client
    finally:
        process.kill()
        process.wait()


def lives(client: httpx.Client) -> bool:
    try:
        return client.get("/livez").status_code == 200
    except httpx.TransportError:
        return False


def test_sigterm_ends_a_process_whose_model_is_being_admitted_for_ever(tmp_path: Path) -> None:
    model_folder(tmp_path / "model", endless_above=0.0)
    with started(tmp_path, MIEN_MODEL_TIMEOUT_S=str(NO_LIMIT_S)) as (process, client):
        until(lambda: "is being checked" in client.get("/readyz").json()["detail"], START_S)
        process.send_signal(signal.SIGTERM)
        assert process.wait(START_S) in (0, -signal.SIGTERM)


def test_sigterm_ends_a_process_whose_live_model_hangs(tmp_path: Path) -> None:
    model_folder(tmp_path / "model", endless_above=ABOVE_WARM_UP)
    with started(tmp_path, MIEN_MODEL_TIMEOUT_S=str(NO_LIMIT_S), MIEN_THREADS="1", MIEN_TIMEOUT_S="2") as (
        process,
        client,
    ):
        until(lambda: client.get("/readyz").status_code == 200, START_S)
        assert answer(client, BRIGHT).json()["type"] == "urn:mien:problem:deadline-passed"
        process.send_signal(signal.SIGTERM)
        assert process.wait(START_S) in (0, -signal.SIGTERM)


def test_a_model_that_reads_other_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # As long as the biases that it would be taken for.
    Path("notes.txt").write_bytes(b"private notes, " * 4)
    model_folder(tmp_path / "model", external="notes.txt")
    with serving(settings_in(tmp_path)) as client:
        until(lambda: refused(client))
        assert refused(client)["step"] == "contract"
        assert "external data" in refused(client)["reason"]


@pytest.mark.parametrize("name", ["sad\ud83d", "sad\x00", "sad\x1b[2J"], ids=ascii)
def test_a_class_name_that_no_answer_can_carry_is_refused(tmp_path: Path, name: str) -> None:
    import json

    from tests.support.onnx_models import make_contract, write_model

    contract = make_contract()
    values = json.loads(contract.to_json())
    values["classes"][5] = name
    write_model(tmp_path / "model/model.onnx", contract=contract, metadata=json.dumps(values))
    with serving(settings_in(tmp_path)) as client:
        until(lambda: refused(client))
        assert refused(client)["step"] == "contract"
        assert "classes" in refused(client)["reason"]
        assert client.get("/detect").status_code < 500


def test_the_state_of_an_earlier_process_is_not_reported_as_this_ones(tmp_path: Path) -> None:
    good = model_folder(tmp_path / "model", seed=1)
    settings = settings_in(tmp_path)
    with serving(settings) as client:
        ready(client)
    state = next((tmp_path / "cache").glob("*/target.json"))
    earlier = re.sub(r'"checked_at": [\d.]+', f'"checked_at": {time.time() - 2666}', state.read_text())
    state.write_text(earlier.replace('"problem": null', '"problem": "the registry was away"'))
    # A follower that does not come to look, so that the state stays as it was.
    good.rename(tmp_path / "elsewhere")
    with serving(settings_in(tmp_path, poll_s=60)) as client:
        ready(client)
        problem = client.get("/model").json()["following"]["problem"]
        assert problem is None or "registry was away" not in problem
        assert problem is None or "has not reported" not in problem
