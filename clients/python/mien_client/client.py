"""The two clients: `Client` blocks, `AsyncClient` is for asyncio; all but the sending is in `exchange`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import closing
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Generic, ParamSpec, Self, TypeVar, overload

import httpx

from mien_client import calls
from mien_client.calls import Call
from mien_client.exchange import Connection, Exchange, Reply

P = ParamSpec("P")
T = TypeVar("T")


class Endpoint(Generic[P, T]):
    """A method of both clients, declared once: `Client`'s returns the answer, `AsyncClient`'s is awaited."""

    def __init__(self, call: Callable[P, Call[T]]) -> None:
        """Create the method from the function that makes its call."""
        self._call = call

    @overload
    def __get__(self, client: None, owner: type) -> Callable[P, Call[T]]: ...
    @overload
    def __get__(self, client: Client, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: AsyncClient, owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, client: Client | AsyncClient | None, owner: type) -> Callable[P, Any]:
        """Return the method of a client; of its class, the function that makes the call."""
        if client is None:
            return self._call

        @wraps(self._call)
        def method(*args: P.args, **kwargs: P.kwargs) -> Any:
            return client.send(self._call(*args, **kwargs))

        return method


class Endpoints:
    """The methods of both clients; `calls` documents their arguments and errors."""

    detect = Endpoint(calls.detect)
    """Find the faces of one picture and classify their emotions."""
    detect_batch = Endpoint(calls.detect_batch)
    """Classify several pictures with the same model: a result or a problem for each, in order."""
    explain = Endpoint(calls.explain)
    """Classify as `detect` does, with the heatmap of every face."""
    explain_png = Endpoint(calls.explain_png)
    """Draw heatmaps, boxes and labels into the picture; returns a PNG file."""
    feedback = Endpoint(calls.feedback)
    """Store the true emotion of a face of an earlier answer."""
    prediction = Endpoint(calls.prediction)
    """Return an earlier answer with its lineage."""
    delete_prediction = Endpoint(calls.delete_prediction)
    """Delete an earlier answer, its feedback and its picture."""
    label_tasks = Endpoint(calls.label_tasks)
    """Return the kept pictures that a person should label next."""
    label_picture = Endpoint(calls.label_picture)
    """Return a kept picture as the model got it, a JPEG file."""
    label = Endpoint(calls.label)
    """Store a person's label of a kept picture."""
    withdraw_label = Endpoint(calls.withdraw_label)
    """Withdraw a person's own label."""
    labels = Endpoint(calls.labels)
    """Return the counts of all labels, their agreement, and the disputed pictures."""
    model = Endpoint(calls.model)
    """Return the live model, its contract and lineage."""
    model_history = Endpoint(calls.model_history)
    """Return the newest switches of the model: which version, when, why, and who signed it."""
    live = Endpoint(calls.live)
    """Ask once whether the process answers."""
    ready = Endpoint(calls.ready)
    """Ask once whether a model is live."""


@dataclass(eq=False)
class Client(Connection, Endpoints):
    """A client of the service that blocks; threads may share it.

    with Client("http://localhost:8000") as client:
        print(client.detect("photo.jpg").emotion)
    """

    sleep: Callable[[float], None] = field(default=time.sleep, kw_only=True, repr=False)
    """Waits for a number of seconds."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._http = self.open(httpx.Client)

    def send(self, call: Call[T]) -> T:
        """Send a call, again if that is useful and safe, and return its answer.

        Raises:
            MienError: the call failed; `errors` lists the kinds.
        """
        exchange = Exchange(call, self)
        while (wait_s := exchange.judge(self._attempt(exchange))) is not None:
            self.sleep(wait_s)
        return exchange.answer()

    def _attempt(self, exchange: Exchange[T]) -> Reply | Exception:
        try:
            with closing(self._http.send(exchange.request(self._http), stream=True)) as response:
                body = b"".join(exchange.in_time(response.iter_bytes()))
        except (httpx.RequestError, TimeoutError) as error:
            return error
        return Reply(status=response.status_code, headers=response.headers, body=body)

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


@dataclass(eq=False)
class AsyncClient(Connection, Endpoints):
    """A client of the service for asyncio; the tasks of one event loop may share it.

    async with AsyncClient("http://localhost:8000") as client:
        print((await client.detect("photo.jpg")).emotion)
    """

    sleep: Callable[[float], Awaitable[None]] = field(default=asyncio.sleep, kw_only=True, repr=False)
    """Waits for a number of seconds."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._http = self.open(httpx.AsyncClient)

    async def send(self, call: Call[T]) -> T:
        """Send a call; see `Client.send`."""
        exchange = Exchange(call, self)
        while (wait_s := exchange.judge(await self._attempt(exchange))) is not None:
            await self.sleep(wait_s)
        return exchange.answer()

    async def _attempt(self, exchange: Exchange[T]) -> Reply | Exception:
        try:
            async with asyncio.timeout(exchange.remaining_s()):
                response = await self._http.send(exchange.request(self._http))
        except (httpx.RequestError, TimeoutError) as error:
            return error
        return Reply(status=response.status_code, headers=response.headers, body=response.content)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()
