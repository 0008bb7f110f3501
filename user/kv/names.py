"""Where a store stands in the namespace (KV-1), and which shard a key belongs to (KV-2).

name/kv/<job>/config             who has which shard; the balancer's alone to write
name/kv/<job>/kv-balancer        the balancer that leads; ``kv-balancer-elect`` tells which
name/kv/<job>/kv-balancer/ctl    write ``add grp-<i>`` or ``del grp-<i>`` into it
name/kv/<job>/grp-<i>            a server of shards; of its group the one that leads: ``grp-<i>-elect``
name/kv/<job>/grp-<i>-conf       the nodes whose copies of what that server wrote are in step
name/kv/<job>/kvclerk-sem        what clerks wait for that are to start together
name/ux/<kernel id>/kv/<job>/grp-<i>/   what the server of that group has written: a copy per node
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from sigmaos_ray import serr
from sigmaos_ray.sigmap import path

ROOT: Final = "name/kv"
UX: Final = "name/ux"
SHARDS_COUNT: Final = 100
BALANCERS_COUNT: Final = 3
BALANCER_PROGRAM: Final = "user.kv.balancer"
CONTROL: Final = "ctl"
KVD_PROGRAM: Final = "user.kv.kvd"
MOVER_PROGRAM: Final = "user.kv.mover"
CLERK_PROGRAM: Final = "user.kv.clerk"
_GROUP: Final = re.compile(r"grp-(\d{1,9})")
_FNV_OFFSET: Final = 2166136261
_FNV_PRIME: Final = 16777619


@lru_cache(maxsize=1 << 16)
def shard_of(key: str) -> int:
    """FNV-1a of 32 bits, modulo the number of shards."""
    found = _FNV_OFFSET
    for byte in key.encode():
        found = (found ^ byte) * _FNV_PRIME & 0xFFFF_FFFF
    return found % SHARDS_COUNT


def group_number(group: str) -> int:
    """Inval for what is not ``grp-<number>``."""
    found = _GROUP.fullmatch(group)
    if found is None:
        raise serr.Inval(group, "a group is called grp-<number>")
    return int(found[1])


class Names:
    """The pathnames of one store. Inval for a name that no file can have."""

    def __init__(self, job: str) -> None:
        reason = path.why_bad_name(job)
        if reason is not None or path.is_union(job):
            raise serr.Inval(job, f"the name of a store: {reason or 'a reserved name'}")
        self.job = job
        self.dir = f"{ROOT}/{job}"
        self.config = f"{self.dir}/config"
        self.balancer = f"{self.dir}/kv-balancer"
        self.balancer_elect = f"{self.dir}/kv-balancer-elect"
        self.clerk_sem = f"{self.dir}/kvclerk-sem"
        self.balancers = f"kv-{job}-balancers"

    def group(self, group: str) -> str:
        """The server's own name."""
        return f"{self.dir}/{group}"

    def elect(self, group: str) -> str:
        return f"{self.dir}/{group}-elect"

    def conf(self, group: str) -> str:
        return f"{self.dir}/{group}-conf"

    def store(self, group: str, node: str) -> str:
        """Where a group keeps its copy at a kernel node."""
        return f"{UX}/{node}/kv/{self.job}/{group}"

    def procs(self, group: str) -> str:
        """The name of the group of procs, as ``procgroupmgr`` keeps it."""
        return f"kv-{self.job}-{group}"
