"""Errors of the `flows` package.

    FlowError
    ├── ParametersInvalid      a flow was started with something it cannot do
    ├── SettingsInvalid        an environment variable of the service has an impossible value
    ├── GraphUnreadable        DVC cannot tell the stages of the repository
    ├── WorkspaceFailed        the run's own clone, its data or its results' branch
    ├── TrainingBusy           another training of this checkout is running
    ├── ClusterError           a cluster's nodes cannot be reached, or cannot share what they need
    ├── DeploymentMissing      what a flow is to start is not on the Prefect server
    ├── DriftUnfinished        drift was computed, and something after it failed
    ├── SourceUnusable         what is to be scored cannot be listed or read
    ├── CollectRefused         what a service kept cannot become data
    └── StackError             `make up` cannot start
        └── PortTaken          one of its ports is another program's

Every message is one line: what was got, what was expected, what to do. It is what a flow's last state says.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class FlowError(Exception):
    """Root of every error this package raises on purpose."""


class ParametersInvalid(FlowError):
    """A flow was started with a value that it cannot work with."""

    def __init__(self, *, parameter: str, got: object, expected: str) -> None:
        self.parameter = parameter
        self.got = got
        super().__init__(f"{parameter}: got {got!r}, expected {expected}; start the run again with that")


class SettingsInvalid(FlowError):
    """The service could not start with these environment variables either."""

    def __init__(self, *, variable: str, reason: str) -> None:
        self.variable = variable
        super().__init__(f"{variable}: {reason}; correct the environment and start the run again")


class GraphUnreadable(FlowError):
    """DVC cannot tell which stages there are."""

    def __init__(self, *, root: Path, reason: str) -> None:
        self.root = root
        super().__init__(f"the stages of {root} cannot be read: {reason}; correct dvc.yaml or params.yaml")


class WorkspaceFailed(FlowError):
    """The clone that a run works in cannot be made, filled or brought home."""

    def __init__(self, *, what: str, reason: str, remedy: str) -> None:
        self.what = what
        super().__init__(f"{what}: {reason}; {remedy}")


class TrainingBusy(FlowError):
    """Another training of the same checkout is running."""

    def __init__(self, *, checkout: Path) -> None:
        self.checkout = checkout
        super().__init__(
            f"another training of {checkout} is running, this one was not started; wait for its end"
        )


class ClusterError(FlowError):
    """The nodes of a cluster cannot be reached, or what they share with the coordinator is missing."""

    def __init__(self, *, what: str, reason: str, remedy: str) -> None:
        self.what = what
        super().__init__(f"{what}: {reason}; {remedy}")


class DeploymentMissing(FlowError):
    """The Prefect server does not know a deployment."""

    def __init__(self, *, name: str) -> None:
        super().__init__(
            f"Prefect has no deployment {name}; apply prefect.yaml: `prefect --no-prompt deploy --all`"
        )


class DriftUnfinished(FlowError):
    """Drift was computed; telling somebody, or keeping the report, failed."""

    def __init__(self, *, what: str, reason: str) -> None:
        super().__init__(f"{what} failed: {reason}")


class SourceUnusable(FlowError):
    """A folder, a table of paths or a bucket cannot be read."""

    def __init__(self, *, source: str, reason: str, remedy: str) -> None:
        self.source = source
        super().__init__(f"{source}: {reason}; {remedy}")


class CollectRefused(FlowError):
    """Feedback cannot become data here."""


class StackError(FlowError):
    """The stack of `make up` cannot be started."""


class PortTaken(StackError):
    """Another program listens where one of the stack's services should."""

    def __init__(
        self, *, service: str, host: str, port: int, variable: str, others: Sequence[int] = ()
    ) -> None:
        self.port = port
        self.variable = variable
        super().__init__(
            f"port {port} on {host} is taken, {service} cannot listen there; "
            f"choose another one: `make up {variable}={free_port_near(port, others)}`"
        )


def free_port_near(port: int, others: Sequence[int] = ()) -> int:
    """A port number to suggest: the next one that no other service of the stack uses."""
    candidate = port + 1
    while candidate in others:
        candidate += 1
    return candidate
