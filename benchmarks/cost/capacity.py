"""What a rate of requests needs, reckoned from what one request costs. Arithmetic only."""

from __future__ import annotations

import math
from dataclasses import dataclass

from benchmarks.cost.record import RequestCost, StorageCost
from serving.settings import Settings

BUSY = 0.7
"""Share of its processor time that a replica is loaded with: docs/benchmarks.md has the tail at this load."""
REPLICA_CORES = 2
"""The machine of docs/benchmarks.md; other sizes were not measured."""
POSTGRES_ROWS_PER_S = 28_000
"""Written into PostgreSQL 18 in batches of 500, docs/benchmarks.md, `benchmarks.observations --url`."""
KEPT = 0.01
"""MIEN_KEEP_IMAGES of the row with kept pictures; the default keeps none."""
_DAY_S = 86_400
RETENTION_DAYS: float = Settings.model_fields["retention_days"].default
PICTURE_DAYS: float = Settings.model_fields["keep_images_days"].default


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """What a rate needs."""

    per_s: float
    """Requests per second, each with a portrait whose faces are searched."""
    cores: float
    """With each busy for `BUSY` of its time."""
    replicas: int
    """Of `REPLICA_CORES` cores."""
    memory_gib: float
    """Of all replicas."""
    sqlite_share: float
    """Rows per second ÷ those that SQLite wrote."""
    postgres_share: float
    """Rows per second ÷ those that PostgreSQL wrote."""
    databases: int
    """PostgreSQL servers that the rows need; 0: the SQLite file of the only replica is enough."""
    gb_per_day: float
    """Of observations, 10⁹ bytes."""
    gb_kept: float
    """Of observations, when the first of them are deleted."""
    pictures_gb: float
    """Of kept pictures with `MIEN_KEEP_IMAGES` = `KEPT`, when the first of them are deleted."""
    in_gbit_per_s: float
    """That the proxy receives, 10⁹ bits."""

    @property
    def bottleneck(self) -> str:
        """What has to grow first."""
        if self.postgres_share > 1:
            return f"database: {self.postgres_share:.1f} times what one PostgreSQL wrote"
        if self.replicas > 1:
            return f"cores: {self.replicas} replicas; PostgreSQL at {self.postgres_share:.0%}"
        return f"none: {self.cores * BUSY / REPLICA_CORES:.0%} of one replica's cores"


def capacity(per_s: float, *, request: RequestCost, storage: StorageCost, form_bytes: int) -> Capacity:
    """What a rate needs, in proportion to what one request costs.

    Args:
        per_s: requests per second, each with one picture.
        request: of the network that is served.
        storage: of its observations; the rows in PostgreSQL are assumed to be as large.
        form_bytes: size of a request.
    """
    cores = per_s * request.searched_ms / 1000 / BUSY
    # Less than a rounding error of the division is not another replica.
    replicas = max(1, math.ceil(cores / REPLICA_CORES - 1e-9))
    gb_per_day = per_s * _DAY_S * storage.row_bytes / 1e9
    alone = replicas == 1 and per_s <= storage.rows_per_s
    return Capacity(
        per_s=per_s,
        cores=cores,
        replicas=replicas,
        memory_gib=replicas * request.all_mib / 1024,
        sqlite_share=per_s / storage.rows_per_s,
        postgres_share=per_s / POSTGRES_ROWS_PER_S,
        databases=0 if alone else math.ceil(per_s / POSTGRES_ROWS_PER_S),
        gb_per_day=gb_per_day,
        gb_kept=gb_per_day * RETENTION_DAYS,
        pictures_gb=per_s * _DAY_S * KEPT * storage.picture_bytes * PICTURE_DAYS / 1e9,
        in_gbit_per_s=per_s * form_bytes * 8 / 1e9,
    )


def per_core(request: RequestCost) -> float:
    """Requests per second of one core that is busy for `BUSY` of its time."""
    return BUSY * 1000 / request.searched_ms
