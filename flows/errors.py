"""Errors of the `flows` package.

    FlowError
    ├── ParametersInvalid      a parameter of a flow has an invalid value
    ├── SettingsInvalid        an environment variable of the service has an invalid value
    ├── GraphUnreadable        DVC cannot list the stages of the repository
    ├── WorkspaceFailed        the clone of a run, its data or its branch with results
    ├── TrainingBusy           another training of this checkout is running
    ├── ClusterError           a cluster is unreachable, or its nodes cannot share files
    ├── DeploymentMissing      a deployment is not on the Prefect server
    ├── DriftUnfinished        drift was computed, and a step after it failed
    ├── SourceUnusable         the pictures to score cannot be listed or read
    ├── CollectRefused         the pictures that a service kept cannot become data
    ├── BackupError            a backup cannot be made, or cannot be restored here
    └── StackError             `make up` cannot start
        └── PortTaken          another program uses one of its ports

Every message is one line: what was got, what was expected, what to do. It becomes the message of the flow's
final state.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class FlowError(Exception):
    """Root of the errors that this package raises."""

    temporary: bool = False
    """Whether the same operation may succeed if it is tried again."""


class ParametersInvalid(FlowError):
    """A parameter of a flow has an invalid value."""

    def __init__(self, *, parameter: str, got: object, expected: str) -> None:
        self.parameter = parameter
        self.got = got
        super().__init__(f"{parameter}: got {got!r}, expected {expected}; start the run again with that")


class SettingsInvalid(FlowError):
    """An environment variable of the service has an invalid value; the service would not start either."""

    def __init__(self, *, variable: str, reason: str) -> None:
        self.variable = variable
        super().__init__(f"{variable}: {reason}; correct the environment and start the run again")


class EraseRefused(FlowError):
    """What is to be erased cannot be found or removed."""


class GraphUnreadable(FlowError):
    """DVC cannot list the stages of the repository."""

    def __init__(self, *, root: Path, reason: str) -> None:
        self.root = root
        super().__init__(f"cannot read the stages of {root}: {reason}; correct dvc.yaml or params.yaml")


class WorkspaceFailed(FlowError):
    """The clone of a run cannot be created, filled with data, or pushed."""

    def __init__(self, *, what: str, reason: str, remedy: str) -> None:
        self.what = what
        super().__init__(f"{what}: {reason}; {remedy}")


class TrainingBusy(FlowError):
    """Another training of the same checkout is running."""

    def __init__(self, *, checkout: Path) -> None:
        self.checkout = checkout
        super().__init__(f"another training of {checkout} is running; wait until it has ended")


class ClusterError(FlowError):
    """The cluster is unreachable, or its nodes cannot share files with the coordinator."""

    def __init__(self, *, what: str, reason: str, remedy: str, temporary: bool = False) -> None:
        self.what = what
        self.temporary = temporary
        super().__init__(f"{what}: {reason}; {remedy}")


class DeploymentMissing(FlowError):
    """A deployment is not on the Prefect server."""

    def __init__(self, *, name: str) -> None:
        super().__init__(
            f"Prefect has no deployment {name}; create it with `prefect --no-prompt deploy --all`"
        )


class DriftUnfinished(FlowError):
    """Drift was computed, but a notification or the upload of the report failed."""

    def __init__(self, *, what: str, reason: str) -> None:
        super().__init__(f"{what} failed: {reason}")


class SourceUnusable(FlowError):
    """A folder, a table of paths or a bucket cannot be listed or read."""

    def __init__(self, *, source: str, reason: str, remedy: str) -> None:
        self.source = source
        super().__init__(f"{source}: {reason}; {remedy}")


class CollectRefused(FlowError):
    """Pictures with feedback cannot be added to the data."""


class BackupError(FlowError):
    """A backup cannot be made, or an archive cannot be restored here."""

    def __init__(self, *, what: str | Path, reason: str, remedy: str) -> None:
        self.what = str(what)
        self.reason = reason
        super().__init__(f"cannot back up or restore {what}: {reason}; {remedy}")


class StackError(FlowError):
    """The stack of `make up` cannot start."""


class PortTaken(StackError):
    """Another program uses the port of one of the stack's services."""

    def __init__(
        self, *, service: str, host: str, port: int, variable: str, others: Sequence[int] = ()
    ) -> None:
        self.port = port
        self.variable = variable
        super().__init__(
            f"port {port} on {host}, which {service} needs, is in use; "
            f"choose another one: `make up {variable}={free_port_near(port, others)}`"
        )


def free_port_near(port: int, others: Sequence[int] = ()) -> int:
    """A port to suggest: the next one that no other service of the stack uses."""
    candidate = port + 1
    while candidate in others:
        candidate += 1
    return candidate
