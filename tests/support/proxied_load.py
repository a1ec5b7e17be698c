"""Clients that keep asking a service through a proxy, for as long as a block runs."""

from __future__ import annotations

import threading
from collections import Counter
from types import TracebackType

import httpx

from tests.support.http_service import PATIENCE_S, picture_of, until

CLIENTS = 6
# Between two questions of one client: load, and not a measurement.
_REST_S = 0.02


class Load:
    """Statuses of all answers; broken connections are listed apart and not repeated."""

    def __init__(self, url: str, key: str) -> None:
        self.statuses: Counter[int] = Counter()
        self.broken: list[str] = []
        self._url = url
        self._headers = {"Authorization": f"Bearer {key}"}
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        self.goes_on()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def goes_on(self, answers: int = 60) -> None:
        """Wait for `answers` more answers."""
        before = self.statuses.total()
        until(lambda: self.statuses.total() >= before + answers, 20 * PATIENCE_S)

    def _ask(self) -> None:
        picture = picture_of(3)
        with httpx.Client(base_url=self._url, headers=self._headers, timeout=10 * PATIENCE_S) as client:
            while not self._ending.wait(_REST_S):
                try:
                    status = client.post("/detect?faces=none", content=picture).status_code
                except httpx.TransportError as error:
                    self.broken.append(f"{type(error).__name__}: {error}")
                else:
                    self.statuses[status] += 1
