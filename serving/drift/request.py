"""What is to be computed, as it is told to the process that computes it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, kw_only=True)
class WindowRule:
    """Which observations count as current."""

    last_n: int | None = 500
    """The newest so many; None for no limit."""
    last_s: float | None = None
    """Those of the last so many seconds; None for no limit. With `last_n` both must hold."""
    min_rows: int = 200
    """Fewer give no verdict."""
    max_rows: int = 10_000
    """Of a larger window so many are drawn evenly."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be computed."""

    database_url: str
    model_folder: str
    """Of the model's files, `reference.parquet` among them."""
    model_version: str
    model_sha256: str
    window: WindowRule = field(default_factory=WindowRule)
    false_alarms: float = 0.005
    """Share of windows without drift that may raise the alarm; docs/drift.md says why so few."""
    scores: str | None = None
    """Path of a batch's scores (Parquet, with embeddings) to look at instead of the database."""
    pictures_per_person: float | None = None
    """Of one visit in live traffic, on average; None: as many as the reference has of a person."""

    def dumps(self) -> str:
        """As one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def loads(cls, text: str) -> Request:
        """The reverse."""
        values = json.loads(text)
        return cls(**values | {"window": WindowRule(**values["window"])})
