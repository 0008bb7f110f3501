"""Clients of the database proxies, ``name/db/<kernel id>`` (B-5).

with DbClnt(sc) as db:
    db.execute("CREATE TABLE books (name TEXT PRIMARY KEY, words INTEGER)")
    db.execute("INSERT INTO books VALUES (:name, :words)", name="Moby Dick", words=209117)
    db.query("SELECT name FROM books WHERE words > :least", least=100_000)   # [{"name": "Moby Dick"}]

A parameter stands in a statement as ``:name``; a colon that is none is written ``\\:`` where a word follows it.
"""

from __future__ import annotations

import datetime
import decimal
import uuid
from typing import TYPE_CHECKING, Final, Self, TypeAlias

from sigmaos_ray import serr
from sigmaos_ray.pb.db_pb2 import ExecReply, QueryReply, SqlRequest, SqlValue, TransactReply, TransactRequest
from sigmaos_ray.rpcclnt import AsyncRPCClnt, RPCClnt
from sigmaos_ray.sigmap import ANY, DB, path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from sigmaos_ray.blocking import BlockingClient
    from sigmaos_ray.fslib import AsyncFsLib

Value: TypeAlias = bool | int | float | str | bytes | None

DEFAULT_PATHNAME: Final = path.join(DB, ANY)

# An integer that needs more than 64 bits travels as text: the message has no other room for it.
_INT64: Final = 1 << 63
_AS_TEXT: Final = (datetime.date, datetime.time, datetime.timedelta, decimal.Decimal, uuid.UUID)


def value_to_pb(value: object) -> SqlValue:
    """A value of a parameter or a column. Dates, times and decimal numbers travel as text. Inval for what no column
    holds."""
    if value is None:
        return SqlValue(null=True)
    # Before int, of which Python's bool is one.
    if isinstance(value, bool):
        return SqlValue(boolean=value)
    if isinstance(value, int):
        return SqlValue(integer=value) if -_INT64 <= value < _INT64 else SqlValue(text=str(value))
    if isinstance(value, float):
        return SqlValue(real=value)
    if isinstance(value, str):
        return SqlValue(text=value)
    if isinstance(value, bytes | bytearray | memoryview):
        return SqlValue(blob=bytes(value))
    if isinstance(value, _AS_TEXT):
        return SqlValue(text=str(value))
    raise serr.Inval(type(value).__name__, "no database holds this type of value")


def value_from_pb(value: SqlValue) -> Value:
    """The value that ``value_to_pb`` packed. Inval for one of no type that is known here."""
    kind = value.WhichOneof("value")
    if kind is None:
        raise serr.Inval("value", "it has none of the types that are known here")
    content: Value = None if kind == "null" else getattr(value, kind)
    return content


def _request(statement: str, parameters: Mapping[str, object]) -> SqlRequest:
    return SqlRequest(statement=statement, parameters={name: value_to_pb(value) for name, value in parameters.items()})


def _rows(reply: QueryReply) -> list[dict[str, Value]]:
    columns = list(reply.columns)
    return [dict(zip(columns, map(value_from_pb, row.values), strict=True)) for row in reply.rows]


def _transaction(statements: Iterable[str | tuple[str, Mapping[str, object]]]) -> TransactRequest:
    pairs = [(each, {}) if isinstance(each, str) else each for each in statements]
    return TransactRequest(statements=[_request(*pair) for pair in pairs])


class AsyncDbClnt:
    """A client of one proxy: any, unless ``pn`` says which. ``close`` it, or use it as a context.

    Errors: Exists (must be unique), Retry (undone: another transaction was in the way), Inval (the database's own words
    on what is wrong), Timeout (and undone), Unreachable (not done), IOErr (done or not).
    """

    def __init__(self, sc: AsyncFsLib, pn: str = DEFAULT_PATHNAME) -> None:
        self._rpc = AsyncRPCClnt(sc, pn)

    async def query(
        self, statement: str, timeout_s: float | None = None, /, **parameters: object
    ) -> list[dict[str, Value]]:
        """The rows of a statement, column -> value. Inval for a statement that has none to give, such as an UPDATE."""
        return _rows(await self._rpc.rpc("DbSrv.Query", _request(statement, parameters), QueryReply, timeout_s))

    async def execute(self, statement: str, timeout_s: float | None = None, /, **parameters: object) -> int:
        """Runs a statement as a transaction; the number of rows it changed, or -1 where the database does not tell."""
        request = _request(statement, parameters)
        return (await self._rpc.rpc("DbSrv.Exec", request, ExecReply, timeout_s)).row_count

    async def transact(
        self, statements: Iterable[str | tuple[str, Mapping[str, object]]], timeout_s: float | None = None
    ) -> list[int]:
        """Runs statements, some with parameters, as one transaction: all or none; how many rows each changed."""
        reply = await self._rpc.rpc("DbSrv.Transact", _transaction(statements), TransactReply, timeout_s)
        return list(reply.row_counts)

    async def close(self) -> None:
        """Closes the channel; a later call opens another."""
        await self._rpc.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


class DbClnt:
    """The blocking face of ``AsyncDbClnt``; may be shared by threads. A context manager."""

    # Not made of AsyncDbClnt, as other faces are: calls of threads save the way through the loop, by RPCClnt's lines.

    def __init__(self, sc: BlockingClient, pn: str = DEFAULT_PATHNAME) -> None:
        self._rpc = RPCClnt(sc, pn)

    def query(self, statement: str, timeout_s: float | None = None, /, **parameters: object) -> list[dict[str, Value]]:
        """See ``AsyncDbClnt.query``."""
        return _rows(self._rpc.rpc("DbSrv.Query", _request(statement, parameters), QueryReply, timeout_s))

    def execute(self, statement: str, timeout_s: float | None = None, /, **parameters: object) -> int:
        """See ``AsyncDbClnt.execute``."""
        return self._rpc.rpc("DbSrv.Exec", _request(statement, parameters), ExecReply, timeout_s).row_count

    def transact(
        self, statements: Iterable[str | tuple[str, Mapping[str, object]]], timeout_s: float | None = None
    ) -> list[int]:
        """See ``AsyncDbClnt.transact``."""
        return list(self._rpc.rpc("DbSrv.Transact", _transaction(statements), TransactReply, timeout_s).row_counts)

    def close(self) -> None:
        """Closes the channel; a later call opens another."""
        self._rpc.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
