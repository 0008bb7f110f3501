"""Clients of the database proxies, ``name/db/<kernel id>`` (B-5).

with DbClnt(sc) as db:
    db.execute("CREATE TABLE books (name TEXT PRIMARY KEY, words INTEGER)")
    db.execute("INSERT INTO books VALUES (:name, :words)", name="Moby Dick", words=209117)
    db.query("SELECT name FROM books WHERE words > :least", least=100_000)   # [{"name": "Moby Dick"}]

A parameter stands in a statement as ``:name``; a colon that is none is written ``\\:`` where a word follows it.
"""

from __future__ import annotations

import asyncio
import datetime
import decimal
import uuid
from typing import TYPE_CHECKING, Final, Self, TypeAlias, TypeVar

from google.protobuf.message import Message

from sigmaos_ray import serr
from sigmaos_ray.pb.db_pb2 import (
    AboutReply,
    AboutRequest,
    ExecReply,
    QueryReply,
    SqlRequest,
    SqlValue,
    TransactReply,
    TransactRequest,
)
from sigmaos_ray.rpcclnt import AsyncRPCClnt, RPCClnt
from sigmaos_ray.sigmap import ANY, DB, path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from sigmaos_ray.blocking import BlockingClient
    from sigmaos_ray.fslib import AsyncFsLib

R = TypeVar("R", bound=Message)
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
        return SqlValue(text=serr.check_utf8("a text", value))
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
    values = {serr.check_utf8("a parameter", name): value_to_pb(value) for name, value in parameters.items()}
    return SqlRequest(statement=serr.check_utf8("a statement", statement), parameters=values)


def _rows(reply: QueryReply) -> list[dict[str, Value]]:
    columns = list(reply.columns)
    return [dict(zip(columns, map(value_from_pb, row.values), strict=True)) for row in reply.rows]


def _transaction(statements: Iterable[str | tuple[str, Mapping[str, object]]]) -> TransactRequest:
    pairs = [(each, {}) if isinstance(each, str) else each for each in statements]
    return TransactRequest(statements=[_request(*pair) for pair in pairs])


async def _check_shared(sc: AsyncFsLib, pn: str) -> None:
    """NotSupported for any of several machines' databases, each of which has a file of its own: which one a client gets
    is chance."""
    directory, last = path.split(pn)[:-1], path.split(pn)[-1:]
    if last != [ANY]:
        return
    names = [stat.name for stat in await sc.get_dir("/".join(directory)) if stat.is_endpoint]
    if len(names) < 2:
        return
    endpoints = await asyncio.gather(*(sc.read_endpoint("/".join([*directory, name])) for name in names))
    if len({endpoint.addrs[0].rpartition(":")[0] for endpoint in endpoints if endpoint.addrs}) < 2:
        return
    rpc = AsyncRPCClnt(sc, pn)
    try:
        reply = await rpc.rpc("DbSrv.About", AboutRequest(), AboutReply)
    finally:
        await rpc.close()
    if reply.is_of_one_machine:
        raise serr.NotSupported(pn, _NOT_SHARED)


_NOT_SHARED: Final = (
    "each machine has a SQLite file of its own: start the instance with SIGMAOS_DB_URL, which names one database for "
    "all, or say which machine's you mean: DbClnt(sc, 'name/db/~local'), or 'name/db/<kernel id>'"
)


class AsyncDbClnt:
    """A client of one proxy: any, unless ``pn`` says which. ``close`` it, or use it as a context. NotSupported for any
    where each of several machines has a database of its own.

    Errors: Exists (must be unique), Retry (undone: another transaction was in the way), Inval (the database's own words
    on what is wrong), Timeout (and undone), Unreachable (not done), IOErr (done or not).
    """

    def __init__(self, sc: AsyncFsLib, pn: str = DEFAULT_PATHNAME) -> None:
        self._sc = sc
        self._pathname = pn
        self._rpc = AsyncRPCClnt(sc, pn)
        self._is_checked = False

    async def _call(self, method: str, request: Message, reply_class: type[R], timeout_s: float | None) -> R:
        if not self._is_checked:
            await _check_shared(self._sc, self._pathname)
            self._is_checked = True
        return await self._rpc.rpc(f"DbSrv.{method}", request, reply_class, timeout_s)

    async def query(
        self, statement: str, timeout_s: float | None = None, /, **parameters: object
    ) -> list[dict[str, Value]]:
        """The rows of a statement, column -> value. Inval for a statement that has none to give, such as an UPDATE."""
        return _rows(await self._call("Query", _request(statement, parameters), QueryReply, timeout_s))

    async def execute(self, statement: str, timeout_s: float | None = None, /, **parameters: object) -> int:
        """Runs a statement as a transaction; the number of rows it changed, or -1 where the database does not tell."""
        request = _request(statement, parameters)
        return (await self._call("Exec", request, ExecReply, timeout_s)).row_count

    async def transact(
        self, statements: Iterable[str | tuple[str, Mapping[str, object]]], timeout_s: float | None = None
    ) -> list[int]:
        """Runs statements, some with parameters, as one transaction: all or none; how many rows each changed."""
        reply = await self._call("Transact", _transaction(statements), TransactReply, timeout_s)
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
        self._sc = sc
        self._pathname = pn
        self._rpc = RPCClnt(sc, pn)
        self._is_checked = False

    def _call(self, method: str, request: Message, reply_class: type[R], timeout_s: float | None) -> R:
        if not self._is_checked:
            self._sc.run(_check_shared(self._sc.asynchronous, self._pathname))
            self._is_checked = True
        return self._rpc.rpc(f"DbSrv.{method}", request, reply_class, timeout_s)

    def query(self, statement: str, timeout_s: float | None = None, /, **parameters: object) -> list[dict[str, Value]]:
        """See ``AsyncDbClnt.query``."""
        return _rows(self._call("Query", _request(statement, parameters), QueryReply, timeout_s))

    def execute(self, statement: str, timeout_s: float | None = None, /, **parameters: object) -> int:
        """See ``AsyncDbClnt.execute``."""
        return self._call("Exec", _request(statement, parameters), ExecReply, timeout_s).row_count

    def transact(
        self, statements: Iterable[str | tuple[str, Mapping[str, object]]], timeout_s: float | None = None
    ) -> list[int]:
        """See ``AsyncDbClnt.transact``."""
        return list(self._call("Transact", _transaction(statements), TransactReply, timeout_s).row_counts)

    def close(self) -> None:
        """Closes the channel; a later call opens another."""
        self._rpc.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
