"""Opens the observation database: connections, schema, migrations, and translation of its errors.

SQLite runs in WAL mode: readers never wait for the writer, and what was committed survives kill −9 (a power
cut may cost the last commits, never the file: https://sqlite.org/pragma.html#pragma_synchronous).

`migrate(connection, found=1)` upgrades the tables of an older version. A migration step is never changed
after its version was made: it must work on a database of the version before. A change of
`serving.observations.schema` needs a step here; a test compares a database that was upgraded from version 1
with a new one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Double,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    func,
    inspect,
    select,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DataError, IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.schema import CreateIndex, CreateTable

from serving.errors.operation import (
    RowsRefused,
    StoreIncomplete,
    StoreTooNew,
    StoreUnavailable,
    StoreUrlInvalid,
)
from serving.observations.schema import SCHEMA_VERSION, metadata, schema_version
from serving.urls import mask_urls


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


def _add_switch_kind(connection: Connection) -> None:
    """2 → 3: the kind of a switch, which its reason began with until then."""
    connection.exec_driver_sql("ALTER TABLE switches ADD COLUMN kind VARCHAR(16) DEFAULT 'live' NOT NULL")
    connection.exec_driver_sql("UPDATE switches SET kind = 'canary' WHERE substr(reason, 1, 7) = 'canary '")


def _add_promoted_by(connection: Connection) -> None:
    """3 → 4: who promoted a version."""
    connection.exec_driver_sql("ALTER TABLE switches ADD COLUMN promoted_by TEXT")


def _add_novelty(connection: Connection) -> None:
    """4 → 5: how unlike the training's an input is."""
    kind = "DOUBLE PRECISION" if connection.dialect.name == "postgresql" else "DOUBLE"
    connection.exec_driver_sql(f"ALTER TABLE observations ADD COLUMN novelty {kind}")


def _add_labels(connection: Connection) -> None:
    """5 → 6: labels by people, and how far a shadow's answer was from the live model's."""
    kind = "DOUBLE PRECISION" if connection.dialect.name == "postgresql" else "DOUBLE"
    connection.exec_driver_sql(f"ALTER TABLE observations ADD COLUMN disagreement {kind}")
    tables = MetaData()
    Table(
        "labels",
        tables,
        Column("observation_id", String(36), primary_key=True),
        Column("labeller", String(128), primary_key=True),
        Column("time", Double, nullable=False),
        Column("label", String(128), nullable=False),
        Index("labels_by_labeller", "labeller", "label"),
        Index("labels_by_time", "time"),
    )
    create(connection, tables)


def _add_signature(connection: Connection) -> None:
    """6 → 7: who signed a version."""
    connection.exec_driver_sql("ALTER TABLE switches ADD COLUMN signature VARCHAR(16)")
    connection.exec_driver_sql("ALTER TABLE switches ADD COLUMN signed_by VARCHAR(64)")


def _add_faces(connection: Connection) -> None:
    """7 → 8: the answers to all faces of a picture, and feedback on each."""
    connection.exec_driver_sql("ALTER TABLE observations ADD COLUMN other_faces TEXT")
    connection.exec_driver_sql("ALTER TABLE feedback ADD COLUMN face INTEGER DEFAULT 0 NOT NULL")


_STEPS: Mapping[int, Callable[[Connection], None]] = {
    1: _add_drift,
    2: _add_switch_kind,
    3: _add_promoted_by,
    4: _add_novelty,
    5: _add_labels,
    6: _add_signature,
    7: _add_faces,
}
"""Version → what makes it the next one."""


# Several workers write to one SQLite file; a batch takes milliseconds, so who waits this long met a fault.
_WAIT_S = 5
# Any number will do as long as all workers use it: it is the lock they create the tables under.
_SCHEMA_LOCK = 0x6D69656E
_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",
    # Deleted rows are overwritten with zeros: who asks for deletion gets it.
    "PRAGMA secure_delete=ON",
)
# A server that vanished without a word is noticed after seconds, not after the kernel's quarter of an hour:
# https://www.postgresql.org/docs/18/libpq-connect.html#LIBPQ-PARAMKEYWORDS
_POSTGRESQL = {"connect_timeout": _WAIT_S, "tcp_user_timeout": 1000 * _WAIT_S, "keepalives_idle": _WAIT_S}


class Database:
    """A lazily opened database; nothing is touched before the first use."""

    def __init__(self, url: str) -> None:
        """Remember where the database is.

        Args:
            url: `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/NAME`.

        Raises:
            StoreUrlInvalid: another kind of database, or no URL at all.
        """
        parsed = _parse(url)
        self.shown = mask_urls(parsed.render_as_string(hide_password=True))
        """The URL without its password."""
        self.dialect = parsed.get_backend_name()
        """`sqlite` or `postgresql`."""
        self._file = Path(parsed.database or "") if self.dialect == "sqlite" else None
        self._engine = _engine(parsed)
        self._lock = threading.Lock()
        self._inode: int | None = None
        self._ready = False

    @contextmanager
    def opened(self) -> Iterator[Connection]:
        """One transaction: committed as a whole at the end, or not at all.

        Raises:
            StoreUnavailable: the database is unreachable, full, read-only or broken.
            RowsRefused: the database is fine and does not take a value.
            StoreTooNew: a newer service has changed its tables.
            StoreIncomplete: a table lacks columns.
        """
        with self._translated():
            self._prepare()
            with self._engine.begin() as connection:
                yield connection

    def close(self) -> None:
        """Close the connections; a later use opens new ones."""
        self._ready = False
        self._engine.dispose()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (StatementError, PoolTimeout) as error:
            # A StatementError that is not a DBAPIError: a value of a type that no column takes.
            if isinstance(error, DataError | IntegrityError) or type(error) is StatementError:
                raise RowsRefused(reason=_reason(error)) from error
            # The tables may be gone too, so they are checked again.
            self._ready = False
            raise StoreUnavailable(url=self.shown, reason=_reason(error)) from error
        except OSError as error:
            self._ready = False
            raise StoreUnavailable(url=self.shown, reason=error.strerror or str(error)) from error

    def _prepare(self) -> None:
        with self._lock:
            if self._inode_now() != self._inode:
                # The file was taken away or replaced: open connections would write to the old one.
                self.close()
            if self._ready:
                return
            if self._file is not None:
                self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._engine.begin() as connection:
                self._create(connection)
            self._inode = self._inode_now()
            self._ready = True

    def _create(self, connection: Connection) -> None:
        """Create the tables, or bring them up to date; several processes may do it at once."""
        if self.dialect == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.execute(select(func.pg_advisory_xact_lock(_SCHEMA_LOCK)))
        connection.execute(CreateTable(schema_version, if_not_exists=True))
        found = connection.scalar(select(schema_version.c.version))
        if found is not None and not 1 <= found <= SCHEMA_VERSION:
            raise StoreTooNew(url=self.shown, found=found, known=SCHEMA_VERSION)
        if found is None:
            create(connection, metadata)
            connection.execute(schema_version.insert(), {"only": True, "version": SCHEMA_VERSION})
        elif found < SCHEMA_VERSION:
            migrate(connection, found=found)
            connection.execute(schema_version.update().values(version=SCHEMA_VERSION))
        # The number alone proves nothing: tables may have been copied, restored or stamped by hand.
        if missing := missing_columns(connection):
            raise StoreIncomplete(url=self.shown, missing=missing)

    def _inode_now(self) -> int | None:
        if self._file is None:
            return None
        try:
            return self._file.stat().st_ino
        except FileNotFoundError:
            return None


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StoreUrlInvalid(reason="it is not a URL") from error
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername == "sqlite":
        if parsed.database in (None, "", ":memory:"):
            raise StoreUrlInvalid(reason="it names no file, and rows in memory would be lost")
        return parsed
    raise StoreUrlInvalid(reason=f"{parsed.drivername!r} is not supported")


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, connect_args={"timeout": _WAIT_S}, pool_timeout=_WAIT_S)
        event.listen(engine, "connect", _set_pragmas)
        return engine
    # A connection that died with the server is replaced before it is used.
    return create_engine(url, connect_args=_POSTGRESQL, pool_timeout=_WAIT_S, pool_pre_ping=True)


def _set_pragmas(connection: Any, _record: Any) -> None:
    for pragma in _PRAGMAS:
        connection.execute(pragma)


def _reason(error: SQLAlchemyError) -> str:
    """The driver's first line, which says most."""
    cause = error.orig if isinstance(error, StatementError) else error
    lines = str(cause).strip().splitlines()
    return lines[0] if lines else type(error).__name__
