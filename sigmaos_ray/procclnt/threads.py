"""Spawns and waits of threads, made in the thread itself where each is one message to a schedd already known: without
an event loop in between. Everything else takes the client's loop, from the beginning.

A status that is taken here is collected with the thread's next spawn, in the same message, or a moment later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigmaos_ray import config, serr
from sigmaos_ray.pb import proc_pb2 as pb
from sigmaos_ray.proc import Status
from sigmaos_ray.procclnt import parking
from sigmaos_ray.rpcclnt import BlockingCalls

if TYPE_CHECKING:
    from sigmaos_ray.blocking import BlockingClient
    from sigmaos_ray.proc import Proc, Tpid
    from sigmaos_ray.procclnt.clnt import AsyncProcClnt
    from sigmaos_ray.rpcclnt import AsyncRPCClnt


class ThreadCalls:
    """Of one client's face. May be shared by threads."""

    def __init__(self, sc: BlockingClient, clnt: AsyncProcClnt) -> None:
        self._sc = sc
        self._clnt = clnt
        self._looks_s = config.current().procs.wait_rpc_s
        self._calls: dict[AsyncRPCClnt, BlockingCalls] = {}

    def spawn(self, proc: Proc) -> bool:
        """False if this thread cannot: nothing was done. Errors as ``AsyncProcClnt.spawn``."""
        kernel = self._clnt.plain_home(proc)
        calls = self._calls_to(kernel)
        if kernel is None or calls is None:
            return False
        taken = self._clnt.taken.of(kernel)
        request = pb.SpawnRequest(proc=self._clnt.plain_spec(proc), collected=taken)
        call = calls.begin("Schedd.Spawn", request, None)
        if not call.is_sent:
            self._clnt.tell_taken(kernel, taken)
            return False
        try:
            call.finish(pb.SpawnReply)
        except serr.IOErr:
            # Sent, fate unknown. Not again: a schedd that took the place of a dead one would run the proc twice.
            if not self._sc.run(self._clnt.has(kernel, proc.pid)):
                raise
        except serr.Unreachable:
            self._clnt.tell_taken(kernel, taken)
            return False
        finally:
            call.abandon()
        self._clnt.spawned_by_thread(proc.pid, kernel)
        return True

    def wait_exit(self, pid: Tpid, timeout_s: float | None) -> Status | None:
        """None if this thread cannot tell, or the proc has not ended within a moment: nothing was done."""
        # In a Ray worker itself the wait is Ray's to know of from its beginning.
        if (timeout_s is not None and timeout_s <= self._looks_s) or parking.installed() is not None:
            return None
        kernel = self._clnt.schedd_of_threads_proc(pid)
        calls = self._calls_to(kernel)
        if kernel is None or calls is None:
            return None
        request = pb.PidRequest(pid=pid, timeout_s=self._looks_s, peek=True, caller_pid=self._clnt.pid)
        call = calls.begin("Schedd.WaitExit", request, None, idempotent=True)
        try:
            if not call.is_sent:
                return None
            reply = call.finish(pb.StatusReply)
        except (serr.Timeout, serr.NotFound, *serr.SESSION_ERRORS):  # the way by the loop knows what that means
            return None
        finally:
            call.abandon()
        if self._clnt.taken_by_thread(pid):
            self._clnt.tell_taken(kernel, [pid])
        return Status.from_pb(reply.status)

    def _calls_to(self, kernel: str | None) -> BlockingCalls | None:
        rpc = self._clnt.open_rpc(kernel) if kernel is not None else None
        if rpc is None:
            return None
        calls = self._calls.get(rpc)
        if calls is None:
            calls = self._calls[rpc] = BlockingCalls(self._sc, rpc)
        return calls
