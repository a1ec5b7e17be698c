"""Promote again and again while clients keep asking, and compare every answer with the history.

    python -m tests.load.promotions --seconds 60

A real MLflow store, the real service, small real models; one promotion per second. What must hold is said in
`check`; the suite runs the same for a few seconds.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import httpx

from tests.support.http_service import picture_of, ready, serving, settings_in, until
from tests.support.mlflow_store import new_store
from tests.support.onnx_models import CLASSES
from tests.support.serving_models import NAME, FilledRegistry

EVERY_S = 1.0
VERSIONS = 3
CLIENTS = 4
# The moment that the history has is taken when a model has passed its checks; the exchange is the very next
# thing, but a busy machine may do other things in between.
EXCHANGE_S = 0.5


@dataclass(frozen=True)
class Answer:
    """What one request saw; Unix times, seconds."""

    asked: float
    answered: float
    status: int
    version: str
    right: bool
    """Whether the emotion is the picture's."""


@dataclass
class Record:
    """What happened."""

    answers: list[Answer] = field(default_factory=list)
    promotions: list[tuple[float, str]] = field(default_factory=list)
    """When the alias was moved (just before), and to which version."""
    switches: list[tuple[float, str]] = field(default_factory=list)
    """The service's history: since when which version was live, the oldest first."""


def run(folder: Path, *, promotions: int) -> Record:
    """Promote `promotions` times, once a second."""
    registry = FilledRegistry(new_store(folder), folder / "artifacts")
    versions = [registry.add(seed=seed) for seed in range(VERSIONS)]
    registry.promote(versions[0])
    record, ending = Record(), threading.Event()
    settings = settings_in(folder, model=f"models:/{NAME}@production", tracking_uri=registry.uri)
    with serving(settings) as client:
        ready(client)
        clients = [
            threading.Thread(target=_ask, args=(str(client.base_url), number, record.answers, ending))
            for number in range(CLIENTS)
        ]
        for one in clients:
            one.start()
        try:
            for number in range(1, promotions + 1):
                version = versions[number % VERSIONS]
                record.promotions.append((time.time(), version))
                registry.promote(version)
                time.sleep(EVERY_S)
            until(lambda: client.get("/model").json()["live"]["version"] == version)
            # The last exchange is asked for, too.
            until(lambda: record.answers[-1].version == version)
        finally:
            ending.set()
            for one in clients:
                one.join()
        record.switches = _history(client, least=2)
    return record


def _ask(url: str, number: int, answers: list[Answer], ending: threading.Event) -> None:
    with httpx.Client(base_url=url, timeout=60) as client:
        while not ending.is_set():
            number = (number + 1) % len(CLASSES)
            asked = time.time()
            answer = client.post("/detect?faces=none", content=picture_of(number))
            body = answer.json()
            answers.append(
                Answer(
                    asked=asked,
                    answered=time.time(),
                    status=answer.status_code,
                    version=body.get("model", {}).get("version", ""),
                    right=body.get("emotion") == CLASSES[number],
                )
            )


def _history(client: httpx.Client, *, least: int) -> list[tuple[float, str]]:
    """Rows reach the database within half a second."""

    def rows() -> list[dict[str, str]]:
        switches: list[dict[str, str]] = client.get("/model/history?limit=1000").json()["switches"]
        return switches

    live = client.get("/model").json()["live"]["version"]
    until(lambda: len(rows()) >= least and rows()[0]["to_version"] == live)
    return [(datetime.fromisoformat(row["time"]).timestamp(), row["to_version"]) for row in reversed(rows())]


def check(record: Record) -> None:
    """No request failed, and every answer came from a version that was live while it was asked for.

    * The history is what was promoted, in that order, but for what was replaced before it was looked up.
    * Each version went live after it was promoted.
    * Each answer's version was live at some moment between its request and its arrival, by the history.
    """
    assert {answer.status for answer in record.answers} == {200}
    assert all(answer.right for answer in record.answers)
    _check_order(record)
    ends = [since for since, _ in record.switches[1:]] + [float("inf")]
    live = [(since, end, version) for (since, version), end in zip(record.switches, ends, strict=True)]
    for answer in record.answers:
        assert any(
            version == answer.version and since <= answer.answered and answer.asked <= end + EXCHANGE_S
            for since, end, version in live
        ), (answer, record.switches)


def _check_order(record: Record) -> None:
    """The switches after the first are a subsequence of the promotions, each later than its promotion."""
    waiting = iter(record.promotions)
    for since, version in record.switches[1:]:
        # The history's times have milliseconds.
        assert any(to == version and at <= since + 0.001 for at, to in waiting), (version, record.promotions)
    assert record.switches[-1][1] == record.promotions[-1][1]


def main() -> None:
    """Run for as long as the command line says, and tell."""
    parser = argparse.ArgumentParser(description="Promotions under load.")
    parser.add_argument("--seconds", type=float, default=60.0)
    with tempfile.TemporaryDirectory() as folder:
        record = run(Path(folder), promotions=round(parser.parse_args().seconds / EVERY_S))
    check(record)
    print(
        f"{len(record.promotions)} promotions, {len(record.switches) - 1} exchanges, "
        f"{len(record.answers)} requests, none failed, each answered by a version that was live"
    )


if __name__ == "__main__":
    main()
