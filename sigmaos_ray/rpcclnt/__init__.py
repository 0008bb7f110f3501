"""RPC by pathname (R-5, R-6): calls on a server's ``rpc`` device, found under its name.

A call is at most once: after IOErr its outcome is unknown, and the caller decides; after Unreachable it never ran.
"""

from sigmaos_ray.rpcclnt.blocking import BlockingCalls, RPCClnt, call_each
from sigmaos_ray.rpcclnt.channel import RPCError
from sigmaos_ray.rpcclnt.clnt import AsyncRPCClnt, InstanceRPCClnt
from sigmaos_ray.rpcclnt.sharded import AsyncShardedRPCClnt
from sigmaos_ray.rpcclnt.shardedface import ShardedRPCClnt

__all__ = [
    "AsyncRPCClnt",
    "AsyncShardedRPCClnt",
    "BlockingCalls",
    "InstanceRPCClnt",
    "RPCClnt",
    "RPCError",
    "ShardedRPCClnt",
    "call_each",
]
