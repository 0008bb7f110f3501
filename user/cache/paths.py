"""Where a cache stands in the namespace.

name/cache/<job>/config         which server answers for which shard
name/cache/<job>/lock           whoever changes that holds it
name/cache/<job>/servers/<name> a server
"""

from __future__ import annotations

from typing import Final

from sigmaos_ray.ft.naming import checked_name

ROOT: Final = "name/cache"


class CachePaths:
    """The pathnames of one cache. Inval for a name that no file can have."""

    def __init__(self, job: str) -> None:
        self.job = checked_name(job, "a cache")
        self.dir = f"{ROOT}/{job}"
        self.servers = f"{self.dir}/servers"
        self.config = f"{self.dir}/config"
        self.lock = f"{self.dir}/lock"

    def server(self, name: str) -> str:
        """Where a server is advertised."""
        return f"{self.servers}/{name}"

    def group(self, name: str) -> str:
        """The name of the group of procs that keeps a server alive, as ``procgroupmgr`` keeps it."""
        return f"cache-{self.job}-{name}"
