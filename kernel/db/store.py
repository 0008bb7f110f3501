"""The database: connections, transactions, statements. Blocking; may be used by any number of threads."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import create_engine, event, exc, text
from sqlalchemy.engine import make_url

from kernel.db.errors import shortened, translated
from sigmaos_ray import extras, serr

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Connection, CursorResult, Engine

    from sigmaos_ray.config import Proxy

_BEGIN: Final = "sigmaos_begin"
"""The option of a connection that says how its transactions begin."""
_STEPS: Final = 10_000
"""SQLite looks at the clock after so many of its instructions."""
_VALUE_BYTES: Final = 16
"""What a value counts beside its text or bytes."""


class Rows:
    """What a query found."""

    def __init__(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        self.columns = columns
        self.rows = rows


class DbStore:
    """One database. ``close`` it."""

    def __init__(self, url: str, limits: Proxy) -> None:
        """Connects when it is first used. Inval for a URL that is none, or whose driver is not installed."""
        self._reply_bytes_max = limits.db_reply_bytes_max
        try:
            parsed = make_url(url)
            self.shown_url = parsed.render_as_string(hide_password=True)
            if parsed.get_driver_name() in extras.PACKAGES:
                extras.need(parsed.get_driver_name(), for_="this database")
            self._engine = create_engine(
                parsed,
                pool_size=limits.db_connections,
                # As many connections as are configured, and no more: whoever comes then waits, and hears Retry in the
                # end.
                max_overflow=0,
                pool_timeout=limits.db_wait_s,
                # A connection that the database closed while nobody used it would fail the next statement.
                pool_pre_ping=True,
                connect_args={"timeout": limits.db_wait_s} if parsed.get_backend_name() == "sqlite" else {},
            )
        except (exc.ArgumentError, ImportError, TypeError, ValueError) as error:
            raise serr.Inval("db_url", str(error)) from error
        self._is_sqlite = self._engine.dialect.name == "sqlite"
        if self._is_sqlite:
            event.listen(self._engine, "connect", _prepare_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
        # A transaction that reads first and writes then would be undone if another one wrote in between.
        self._writing = self._engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})

    @property
    def is_of_one_machine(self) -> bool:
        """Whether it is a file of this machine's, or in its memory."""
        return self._is_sqlite

    def check(self) -> None:
        """Raises Unreachable if the database does not answer."""
        try:
            self.query("SELECT 1", {})
        except serr.SigmaError as error:
            raise serr.Unreachable(self.shown_url, str(error)) from error

    def query(self, statement: str, parameters: Mapping[str, Any], ends_s: float | None = None) -> Rows:
        """The rows of one statement, which is a transaction. Inval for one that has no rows, or too many."""
        with (
            self._transaction(self._engine, statement, ends_s) as connection,
            # A result that is not read to its end would hold SQLite's lock beyond the transaction.
            contextlib.closing(self._run(connection, statement, parameters)) as result,
        ):
            if not result.returns_rows:
                raise serr.Inval(shortened(statement), "it has no rows: it is not for Query, but for Exec")
            return Rows(list(result.keys()), self._fetched(result, statement))

    def _fetched(self, result: CursorResult[Any], statement: str) -> list[Sequence[Any]]:
        rows: list[Sequence[Any]] = []
        size = 0
        for row in result:
            rows.append(row)
            size += sum(_VALUE_BYTES + (len(value) if isinstance(value, str | bytes) else 0) for value in row)
            # While rows come: all of them may be more than memory holds.
            if size > self._reply_bytes_max:
                limit = f"over {self._reply_bytes_max} bytes: ask for fewer, with LIMIT"
                raise serr.Inval(shortened(statement), limit)
        return rows

    def execute(self, statements: Sequence[tuple[str, Mapping[str, Any]]], ends_s: float | None = None) -> list[int]:
        """Runs statements in one transaction: all or none. The number of rows that each changed; -1 where the database
        does not tell."""
        first = statements[0][0] if statements else ""
        with self._transaction(self._writing, first, ends_s) as connection:
            return [self._run(connection, *each).rowcount for each in statements]

    def _run(self, connection: Connection, statement: str, parameters: Mapping[str, Any]) -> CursorResult[Any]:
        if not statement.strip():
            raise serr.Inval("statement", "there is none")
        try:
            return connection.execute(text(statement), dict(parameters))
        except (exc.SQLAlchemyError, sqlite3.Warning) as error:
            raise translated(error, statement) from error

    @contextlib.contextmanager
    def _transaction(self, engine: Engine, statement: str, ends_s: float | None) -> Iterator[Connection]:
        """Commits at the end of the block, undoes everything if that raises."""
        try:
            with engine.begin() as connection, self._limited(connection, ends_s):
                yield connection
        except (exc.SQLAlchemyError, sqlite3.Error) as error:
            raise translated(error, statement) from error

    @contextlib.contextmanager
    def _limited(self, connection: Connection, ends_s: float | None) -> Iterator[None]:
        """The database itself gives up when the caller's time is over: no thread stays behind."""
        if ends_s is None:
            yield
            return
        raw: Any = connection.connection.dbapi_connection
        if self._is_sqlite:
            # SQLite has no time-out for a statement, but gives up once this returns something else than 0.
            raw.set_progress_handler(lambda: int(time.monotonic() > ends_s), _STEPS)
            try:
                yield
            finally:
                # The connection goes back to the pool: the next statement has another limit, or none.
                raw.set_progress_handler(None, 0)
        elif getattr(connection.dialect, "is_mariadb", False):
            left_s = max(ends_s - time.monotonic(), 0.001)
            connection.exec_driver_sql(f"SET SESSION max_statement_time = {left_s:.3f}")
            try:
                yield
            finally:
                with contextlib.suppress(exc.SQLAlchemyError):  # a connection that is lost has no settings either
                    connection.exec_driver_sql("SET SESSION max_statement_time = 0")
        else:
            yield

    @property
    def busy_count(self) -> int:
        """Statements that the database runs now."""
        pool: Any = self._engine.pool
        count: int = pool.checkedout()
        return count

    def close(self) -> None:
        """Closes the connections that nobody uses; others when they are given back."""
        self._engine.dispose()


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Readers beside a writer, references that are kept, and no files but the database's own."""
    connection.isolation_level = None  # transactions begin where SQLAlchemy says so, DDL included
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}").close()
    connection.set_authorizer(_may)


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))


def _may(action: int, first: str | None, _second: object, _database: object, _trigger: object) -> int:
    # VACUUM attaches a file without a name.
    if action == sqlite3.SQLITE_ATTACH and first:
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK
