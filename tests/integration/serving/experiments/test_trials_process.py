"""Shadow and canary with several workers, started as an operator starts them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.http_process import PYTHON_M, ended, running
from tests.support.http_service import picture_of, until
from tests.support.serving_models import model_folder
from tests.support.trials import SHADOW_S, confused


def once(client: httpx.Client, method: str, path: str, **given: Any) -> httpx.Response:
    """A request in a connection of its own, so that any worker may get it."""
    with httpx.Client(base_url=client.base_url, timeout=60) as own:
        return own.request(method, path, **given)


def test_several_workers_choose_alike_count_together_and_tell_once(tmp_path: Path) -> None:
    model_folder(tmp_path / "model")
    confused(tmp_path / "other")
    variables = {
        "MIEN_WORKERS": "2",
        "MIEN_CANARY": "50%",
        "MIEN_CANARY_MODEL": str(tmp_path / "other"),
        "MIEN_SHADOW_MODEL": str(tmp_path / "other"),
        "MIEN_SHADOW_FRACTION": "1",
    }
    with running(tmp_path, **variables) as (_, client):

        def everywhere(path: str, holds: Any) -> bool:
            # Any worker may take a connection: enough requests that each takes one on a busy machine too.
            return all(holds(once(client, "GET", path)) for _ in range(40))

        def standing() -> bool:
            return everywhere(
                "/model", lambda answer: answer.json()["canary"]["state"] == "running"
            ) and everywhere("/model/shadow", lambda answer: answer.json()["reason"] is None)

        until(standing, SHADOW_S)
        answers = [
            once(
                client, "POST", "/detect", content=picture_of(0), headers={"x-request-id": f"id-{index % 20}"}
            )
            for index in range(60)
        ]
        marks = [answer.headers.get("mien-canary") for answer in answers]
        # Asked three times each, of whichever worker, the same twenty are answered by the same model.
        assert marks[:20] == marks[20:40] == marks[40:]
        live = marks.count(None)
        assert 0 < live < 60
        until(
            lambda: everywhere("/model/shadow", lambda answer: answer.json()["report"]["compared"] == live),
            SHADOW_S,
        )
        metrics = once(client, "GET", "/metrics").text
        assert f'mien_canary_requests_total{{outcome="answered"}} {float(60 - live)}' in metrics
        switches = once(client, "GET", "/model/history").json()["switches"]
        assert [switch["kind"] for switch in switches] == ["canary", "live"]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"MIEN_CANARY": "10"}, "MIEN_CANARY='10': expected a share from 0 to 1, written like 10% or 0.1"),
        ({"MIEN_SHADOW_MODEL": "runs:/1/model"}, "MIEN_SHADOW_MODEL='runs:/1/model': this is neither"),
        (
            {"MIEN_CANARY": "10%", "MIEN_CANARY_MODEL": "./model"},
            "MIEN_CANARY_MODEL='./model': this is MIEN_MODEL",
        ),
    ],
    ids=["share", "shadow", "canary"],
)
def test_a_setting_that_cannot_be_used_ends_it_with_its_name(
    tmp_path: Path, variables: dict[str, str], message: str
) -> None:
    done = ended(PYTHON_M, tmp_path, MIEN_PORT="0", MIEN_MODEL="./model", **variables)
    assert done.returncode != 0
    assert message in done.stderr
