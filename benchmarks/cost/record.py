"""What a request costs, as measured, and its JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter


@dataclass(frozen=True, kw_only=True)
class RequestCost:
    """One network behind the whole service, with one client that sends one request after the other."""

    title: str
    network_ms: float | None
    """One picture through the network alone, one thread, as `make run` recorded it; None without a record."""
    whole_ms: float
    """Processor time of all processes of the service for the file itself with `faces=none`."""
    searched_ms: float
    """The same for a form with a portrait whose faces are searched."""
    answering_mib: float
    """Proportional set size of the answering process after the load."""
    all_mib: float
    """Of all processes of the service together."""
    detector: str
    """That searched the faces."""


@dataclass(frozen=True, kw_only=True)
class StorageCost:
    """What the observations of the service take in an SQLite database."""

    rows: int
    """That were written."""
    row_bytes: float
    """Size of the file, indexes included, ÷ rows."""
    row_with_picture_bytes: float
    """The same where each row names a kept picture."""
    picture_bytes: float
    """Space of one kept picture on the disk, whole blocks."""
    rows_per_s: float
    """Written in batches of 500."""


@dataclass(frozen=True, kw_only=True)
class Costs:
    """One run."""

    requests: Sequence[RequestCost]
    """The first one is reckoned with."""
    storage: StorageCost
    form_bytes: int
    """Size of the form with the portrait, with its head."""


_COSTS = TypeAdapter(Costs)


def read_costs(path: Path) -> Costs:
    """The figures that `--json` wrote.

    Raises:
        pydantic.ValidationError: the file does not hold such figures.
    """
    return _COSTS.validate_json(path.read_bytes())
