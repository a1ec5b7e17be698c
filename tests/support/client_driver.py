"""Both clients behind one blocking call, and a time that only their waits advance."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from mien_client import AsyncClient, Client

Kind = Literal["sync", "async"]


@dataclass
class FakeTime:
    """A clock that stands still, but for the waits of a client; the waits are recorded."""

    real: bool = False
    """Whether a wait also takes its time, for a server that measures it."""
    now_s: float = 0.0
    waits: list[float] = field(default_factory=list)

    def clock(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now_s += seconds
        if self.real:
            time.sleep(seconds)

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)


class Driver:
    """A client of one kind; `Driver.detect(…)` blocks also if the client does not."""

    def __init__(self, client: Client | AsyncClient, runner: asyncio.Runner) -> None:
        self.client = client
        self._runner = runner

    def run(self, task: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a task in the event loop of an asynchronous client."""
        self._runner.run(task())

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.client, name)
        if isinstance(self.client, Client):
            return method

        def blocking(*args: Any, **kwargs: Any) -> Any:
            return self._runner.run(method(*args, **kwargs))

        return blocking


@contextmanager
def driver(kind: Kind, url: str, *, fake: FakeTime | None = None, **options: Any) -> Iterator[Driver]:
    """A client of a kind; with `fake` it waits without waiting."""
    with asyncio.Runner() as runner:
        if kind == "sync":
            waits: dict[str, Any] = {"clock": fake.clock, "sleep": fake.sleep} if fake else {}
            with Client(url, **waits, **options) as client:
                yield Driver(client, runner)
        else:
            waits = {"clock": fake.clock, "sleep": fake.sleep_async} if fake else {}
            other = AsyncClient(url, **waits, **options)
            runner.run(other.__aenter__())
            try:
                yield Driver(other, runner)
            finally:
                runner.run(other.aclose())
