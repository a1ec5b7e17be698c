"""SIGTERM while clients keep asking: what was accepted is answered and recorded, nothing is half done."""

from __future__ import annotations

import re
import signal
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import httpx

from tests.support.http_process import running
from tests.support.http_service import picture_of, until
from tests.support.serving_models import model_folder

CLIENTS, ASKED_BEFORE = 8, 200


class Client(threading.Thread):
    """Asks on one connection until the server is gone."""

    def __init__(self, url: httpx.URL) -> None:
        super().__init__()
        self.url = url
        self.ids: list[str] = []
        self.statuses: set[int] = set()
        self.ended = ""

    def run(self) -> None:
        with httpx.Client(base_url=self.url, timeout=60) as client:
            while True:
                try:
                    answer = client.post("/detect?faces=none", content=picture_of(3))
                except httpx.TransportError as error:
                    self.ended = type(error).__name__
                    return
                self.statuses.add(answer.status_code)
                self.ids.append(answer.json()["id"])


def test_every_accepted_request_is_answered_and_its_row_kept(tmp_path: Path) -> None:
    model_folder(tmp_path / "model")
    with running(tmp_path, MIEN_TIMEOUT_S="60") as (process, client):
        clients = [Client(client.base_url) for _ in range(CLIENTS)]
        for one in clients:
            one.start()
        until(lambda: sum(len(one.ids) for one in clients) >= ASKED_BEFORE)
        process.send_signal(signal.SIGTERM)
        log = process.communicate(timeout=60)[1]
        for one in clients:
            one.join()
    # No answer was cut off in the middle (ReadError, RemoteProtocolError with a part of it): the
    # connection was closed between two requests, or the server did not listen any more.
    assert {one.ended for one in clients} <= {"ConnectError", "ReadError", "RemoteProtocolError"}
    assert set().union(*(one.statuses for one in clients)) == {200}
    answered = [id for one in clients for id in one.ids]
    # What the service says it answered is what arrived, and what it has kept.
    assert len(re.findall(r'"POST /detect 200"', log)) == len(answered)
    assert not re.findall(r'"POST /detect (?!200)\d+"', log)
    # To the last line, though uvicorn ends by the signal itself, without Python's own end.
    assert process.returncode == -signal.SIGTERM
    assert "Finished server process" in log.splitlines()[-1]
    with closing(sqlite3.connect(tmp_path / "observations.db")) as database:
        kept = {row[0] for row in database.execute("SELECT id FROM observations")}
    assert kept == set(answered)
