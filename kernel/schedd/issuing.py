"""The credentials of a schedd's procs and workers: made when a proc is handed to a lease, ended with the proc."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from sigmaos_ray.auth.living import LiveTable, table_dir
from sigmaos_ray.auth.tokens import Claims, Signer, TokenKind, TokenSlot, decode
from sigmaos_ray.machine import machine

if TYPE_CHECKING:
    from kernel.schedd.procstate import ProcState
    from kernel.shell import KernelArgs


class ProcTokens:
    """Whoever makes it closes it: then none of them is good any more. Without arguments it makes none, as suits
    servers that let in whoever comes."""

    def __init__(self, args: KernelArgs | None = None, address: str = "") -> None:
        """``address``: of the schedd, for servers on other machines."""
        self._realm = args.realm if args is not None else ""
        self._address = address
        self._signer: Signer | None = None
        self._table: LiveTable | None = None
        if args is not None and args.credentials.issuer_seed:
            self._signer = Signer(decode(args.credentials.issuer_seed), args.credentials.issuer)
            self._table = LiveTable(table_dir(args.state_dir or str(Path.cwd())))

    def for_workers(self) -> str:
        """What a worker shows, which speaks for the procs that run in it; good for as long as the schedd."""
        return self._made(TokenKind.WORKER, "", "")[0]

    def issue(self, proc: ProcState) -> None:
        """Before a proc is handed to a lease: what it shows, if it has a process of its own."""
        if proc.token or proc.spec.reuse:
            return
        proc.token, proc.token_slot = self._made(TokenKind.PROC, proc.pid, proc.spec.parent_pid)

    def _made(self, kind: TokenKind, subject: str, parent: str) -> tuple[str, int]:
        if self._signer is None or self._table is None:
            return "", 0
        slot = self._table.take()
        place = TokenSlot(machine(), self._table.name, slot, self._address)
        token = self._signer.token(
            Claims(
                kind=kind,
                realm=self._realm,
                subject=subject,
                parent=parent,
                place=place,
                nonce=secrets.token_urlsafe(12),
            )
        )
        self._table.lives(slot, token)
        return token, slot

    def ended(self, proc: ProcState) -> None:
        """Nothing of it is left: its token is good no more."""
        if proc.token and self._table is not None:
            self._table.ended(proc.token_slot)
            proc.token = ""

    def lives(self, table: str, slot: int, mark: bytes) -> bool:
        """Whether a token is good still."""
        return self._table is not None and self._table.name == table and self._table.holds(slot, mark)

    def close(self) -> None:
        """May be repeated."""
        if self._table is not None:
            self._table.close()
            self._table = None
