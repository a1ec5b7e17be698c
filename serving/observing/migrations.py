"""How the observation database's layout of one version becomes that of the next.

    migrate(connection, found=1)

Each step is written down as it was when its version was made, and is not changed later: it must still fit a
database that was left at the version before. A change of `serving.observing.tables` needs a step here; a test
compares a database that was brought up from version 1 with a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    inspect,
)
from sqlalchemy.schema import CreateIndex, CreateTable

from serving.observing.tables import SCHEMA_VERSION, metadata


def migrate(connection: Connection, *, found: int) -> None:
    """Bring the tables from version `found` to this service's, in the caller's transaction."""
    for version in range(found, SCHEMA_VERSION):
        _STEPS[version](connection)


def missing_columns(connection: Connection) -> list[str]:
    """Columns that this service reads and the database lacks, as `table.column`."""
    found = inspect(connection)
    there = {
        f"{table}.{column['name']}"
        for table in found.get_table_names()
        if table in metadata.tables
        for column in found.get_columns(table)
    }
    wanted = [f"{table.name}.{column.name}" for table in metadata.sorted_tables for column in table.columns]
    return [name for name in wanted if name not in there]


def create(connection: Connection, tables: MetaData) -> None:
    """Create tables and their indexes, those that are not there yet."""
    for table in tables.sorted_tables:
        connection.execute(CreateTable(table, if_not_exists=True))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            connection.execute(CreateIndex(index, if_not_exists=True))


def _add_drift(connection: Connection) -> None:
    """1 → 2: drift results, and who computes the next."""
    tables = MetaData()
    Table(
        "drift_results",
        tables,
        Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
        Column("time", Double, nullable=False),
        Column("model_version", String(64), nullable=False),
        Column("model_sha256", String(64), nullable=False),
        Column("verdict", String(16), nullable=False),
        Column("result", Text, nullable=False),
        Column("report", LargeBinary),
        Index("drift_results_by_model", "model_version", "model_sha256", "number"),
        Index("drift_results_by_time", "time"),
    )
    Table(
        "drift_lease",
        tables,
        Column("only", Boolean, primary_key=True),
        Column("holder", String(64), nullable=False),
        Column("until", Double, nullable=False),
    )
    create(connection, tables)


_STEPS: Mapping[int, Callable[[Connection], None]] = {1: _add_drift}
"""Version → what makes it the next one."""
