"""``DbSrv``: SQL statements over RPC. Its methods block, and run in threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sigmaos_ray import debug, serr
from sigmaos_ray.dbclnt import value_from_pb, value_to_pb
from sigmaos_ray.pb import db_pb2 as pb

if TYPE_CHECKING:
    from kernel.db.store import DbStore
    from sigmaos_ray.rpcsrv import RpcContext

_log = debug.selector("DB")


class DbSrv:
    """Errors as ``kernel.db.errors`` tells them."""

    def __init__(self, store: DbStore) -> None:
        self._store = store

    def About(self, ctx: RpcContext, request: pb.AboutRequest) -> pb.AboutReply:
        """What kind of database it is."""
        return pb.AboutReply(is_of_one_machine=self._store.is_of_one_machine)

    def Query(self, ctx: RpcContext, request: pb.SqlRequest) -> pb.QueryReply:
        """A statement that has rows."""
        if _log.on:
            _log(f"Query {request.statement!r} for {ctx.caller.principal}")
        result = self._store.query(request.statement, _parameters(request), ctx.ends_s)
        rows = [pb.SqlRow(values=[value_to_pb(value) for value in row]) for row in result.rows]
        return pb.QueryReply(columns=result.columns, rows=rows)

    def Exec(self, ctx: RpcContext, request: pb.SqlRequest) -> pb.ExecReply:
        """A statement that changes something."""
        if _log.on:
            _log(f"Exec {request.statement!r} for {ctx.caller.principal}")
        [count] = self._store.execute([(request.statement, _parameters(request))], ctx.ends_s)
        return pb.ExecReply(row_count=count)

    def Transact(self, ctx: RpcContext, request: pb.TransactRequest) -> pb.TransactReply:
        """Several such statements, all or none."""
        if not request.statements:
            raise serr.Inval("Transact", "no statements")
        statements = [(each.statement, _parameters(each)) for each in request.statements]
        if _log.on:
            _log(f"Transact {len(statements)} statements for {ctx.caller.principal}")
        return pb.TransactReply(row_counts=self._store.execute(statements, ctx.ends_s))


def _parameters(request: pb.SqlRequest) -> dict[str, Any]:
    return {name: value_from_pb(value) for name, value in request.parameters.items()}
