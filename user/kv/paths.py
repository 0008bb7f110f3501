"""Where a store stands in the namespace (KV-1).

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
from typing import Final

from sigmaos_ray import serr
from sigmaos_ray.ft.naming import checked_name

ROOT: Final = "name/kv"
UX: Final = "name/ux"
BALANCER_PROGRAM: Final = "user.kv.balancer"
CONTROL: Final = "ctl"
"""The file of a balancer that takes commands."""
KVD_PROGRAM: Final = "user.kv.kvd"
MOVER_PROGRAM: Final = "user.kv.mover"
CLERK_PROGRAM: Final = "user.kv.clerk"
_GROUP: Final = re.compile(r"grp-(\d{1,9})")


def group_number(group: str) -> int:
    """The number of the group ``grp-<number>``. Inval for any other name."""
    match = _GROUP.fullmatch(group)
    if match is None:
        raise serr.Inval(group, "a group is called grp-<number>")
    return int(match[1])


class KvPaths:
    """The pathnames of one store. Inval for a name that no file can have."""

    def __init__(self, job: str) -> None:
        self.job = checked_name(job, "a store")
        self.dir = f"{ROOT}/{job}"
        self.config = f"{self.dir}/config"
        self.balancer = f"{self.dir}/kv-balancer"
        self.balancer_elect = f"{self.dir}/kv-balancer-elect"
        self.clerk_sem = f"{self.dir}/kvclerk-sem"
        self.balancers = f"kv-{job}-balancers"

    def group(self, group: str) -> str:
        """Where the server that leads a group is advertised."""
        return f"{self.dir}/{group}"

    def elect(self, group: str) -> str:
        """The leader's file of a group."""
        return f"{self.dir}/{group}-elect"

    def conf(self, group: str) -> str:
        """The file that says which of a group's copies are in step."""
        return f"{self.dir}/{group}-conf"

    def copy(self, group: str, node: str) -> str:
        """Where a group keeps its copy at a kernel node."""
        return f"{UX}/{node}/kv/{self.job}/{group}"

    def procs(self, group: str) -> str:
        """The name of a group as a group of procs, as ``procgroupmgr`` keeps it."""
        return f"kv-{self.job}-{group}"
