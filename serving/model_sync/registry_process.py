"""A registry as the source of a model, with MLflow in a process that ends when nothing changes.

    source = watched_source(location, tracking_uri="http://mlflow:5000")
    source.find()       # MLflow is asked, in a child process
    source.find()       # a few milliseconds, since the registry is as it was; the child process has ended

The child runs this module and is a `RegistrySource`. It reads a request from each line of its standard input
and writes an answer as a line, both JSON.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, cast

from pydantic import TypeAdapter, ValidationError

from serving.errors.operation import NothingRegistered, RegistryUnavailable
from serving.model_sync.location import TRACKING_URI, Registered
from serving.model_sync.registry_changes import Registry, watched_registry
from serving.model_sync.sources import FoundVersion, RegistrySource, Source
from serving.processes import Child

_MODULE = "serving.model_sync.registry_process"


@dataclass(frozen=True, kw_only=True)
class Request:
    """Find the version or, with a folder, fetch the files of one that was found."""

    found: FoundVersion | None = None
    folder: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was found, or why nothing was; neither after a fetch."""

    found: FoundVersion | None = None
    error: str | None = None
    kind: Literal["nothing_registered", "unavailable"] = "unavailable"


_LOCATION, _REQUEST, _ANSWER = TypeAdapter(Registered), TypeAdapter(Request), TypeAdapter(Answer)


def watched_source(location: Registered, *, tracking_uri: str) -> Source:
    """Return the source of a registered model for a process that polls; see `sources.RegistrySource`."""
    registry = watched_registry(location.name, tracking_uri=tracking_uri)
    if registry is None:
        return RegistrySource(location, tracking_uri=tracking_uri)
    return WatchedSource(location, registry, tracking_uri=tracking_uri)


class WatchedSource:
    """Asks MLflow only after the registry's answer differs from the last one; used by one thread."""

    def __init__(self, location: Registered, registry: Registry, *, tracking_uri: str) -> None:
        self._location = location
        self._registry = registry
        self._variables = {TRACKING_URI: tracking_uri}
        self._child: Child | None = None
        self._has_failed = False
        self._mark: str | None = None
        self._last: FoundVersion | NothingRegistered | None = None

    @property
    def pid(self) -> int | None:
        """Process id of MLflow's process; None while there is none."""
        return self._child.pid if self._child else None

    def find(self) -> FoundVersion:
        """See `sources.Source.find`."""
        # Before MLflow is asked: what changes between the two is seen by the next poll.
        try:
            mark = self._registry.mark()
        except RegistryUnavailable:
            self.close()
            raise
        if mark is None or mark != self._mark or self._last is None:
            self._mark = None
            try:
                self._last = self._asked(Request()).found
            except NothingRegistered as error:
                self._last = error
            self._mark = mark
        elif not self._has_failed:
            # After a failure the same request comes again.
            self.close()
        if isinstance(self._last, FoundVersion):
            return self._last
        raise NothingRegistered(str(self._last))

    def fetch(self, found: FoundVersion, folder: Path) -> None:
        """See `sources.Source.fetch`."""
        self._asked(Request(found=found, folder=folder.absolute()))

    def close(self) -> None:
        """End MLflow's process, if there is one."""
        if (child := self._child) is not None:
            child.end()
            for pipe in (child.process.stdin, child.process.stdout):
                with suppress(OSError):  # what the child did not read is lost with it
                    cast("IO[bytes]", pipe).close()
            self._child = None

    def _started(self) -> Child:
        return Child(
            _MODULE,
            [self._location.name, self._location.by, self._location.value],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            environment=self._variables,
        )

    def _asked(self, request: Request) -> Answer:
        child = self._child = self._child or self._started()
        requests, answers = cast("IO[bytes]", child.process.stdin), cast("IO[bytes]", child.process.stdout)
        try:
            requests.write(_REQUEST.dump_json(request) + b"\n")
            requests.flush()
            answer = _ANSWER.validate_json(answers.readline())
        except (OSError, ValidationError) as error:
            self.close()
            raise RegistryUnavailable(
                f"MLflow's process ended (exit status {child.poll()}) without an answer; it is started again"
            ) from error
        self._has_failed = answer.error is not None and answer.kind == "unavailable"
        if answer.error is None:
            return answer
        raise {"nothing_registered": NothingRegistered, "unavailable": RegistryUnavailable}[answer.kind](
            answer.error
        )


def main() -> None:
    """Answer requests until standard input ends."""
    name, by, value = sys.argv[1:]
    location = _LOCATION.validate_python({"name": name, "by": by, "value": value})
    source = RegistrySource(location, tracking_uri=os.environ[TRACKING_URI])
    # What MLflow and its libraries print must not mix with the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    for line in sys.stdin.buffer:
        answers.write(_ANSWER.dump_json(_answer(source, _REQUEST.validate_json(line))) + b"\n")
        answers.flush()


def _answer(source: RegistrySource, request: Request) -> Answer:
    try:
        if request.found is None or request.folder is None:
            return Answer(found=source.find())
        source.fetch(request.found, request.folder)
        return Answer()
    except NothingRegistered as error:
        return Answer(error=str(error), kind="nothing_registered")
    except RegistryUnavailable as error:
        return Answer(error=str(error))


if __name__ == "__main__":
    main()
