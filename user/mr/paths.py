"""Where a job stands in the namespace.

name/mr/<job>/job             what was asked for, and how its app travels
name/mr/<job>/coord-leader    the coordinator that leads
name/mr/<job>/inputs-<n>      what the reducers read, written anew whenever a map task ran again
name/mr/<job>/progress        how far it is
name/mr/<job>/out/mr-out-<r>  links to the output, all of them or none
name/mr/<job>/stats.txt       one line of JSON for each task
name/mr/<job>/result          how it ended: the last thing that is written
"""

from __future__ import annotations

from typing import Final

from sigmaos_ray.ft.naming import checked_name
from sigmaos_ray.sigmap import path

ROOT: Final = "name/mr"
MANIFEST: Final = "_SUCCESS"
"""The file beside the output that says, as Hadoop has it, that all of it is there, and which files it is."""
COORDINATOR: Final = "user.mr.coord"
MAPPER: Final = "user.mr.mapper"
REDUCER: Final = "user.mr.reducer"


class MrPaths:
    """The pathnames of one job. Inval for a name that no file can have."""

    def __init__(self, job: str) -> None:
        self.job = checked_name(job, "a job")
        self.dir = f"{ROOT}/{job}"
        self.description = f"{self.dir}/job"
        self.leader = f"{self.dir}/coord-leader"
        self.progress = f"{self.dir}/progress"
        self.out = f"{self.dir}/out"
        self.stats = f"{self.dir}/stats.txt"
        self.result = f"{self.dir}/result"
        self.map_tasks = f"mr-{job}-mtasks"
        self.reduce_tasks = f"mr-{job}-rtasks"
        self.group = f"mr-{job}"

    def inputs(self, number: int) -> str:
        """The list of what the reducers of one round read."""
        return f"{self.dir}/inputs-{number}"

    def server_groups(self) -> tuple[str, str]:
        """The names of the groups of procs that are the task servers; ``group`` are the coordinators."""
        return f"fttask-{self.map_tasks}", f"fttask-{self.reduce_tasks}"


# Three ways to say where something is. What is kept in descriptions and outputs of tasks is in the words of ``local``
# or ``anywhere``, which mean the same to all; ``here`` is for one's own calls only.
def local(pn: str, kernel_id: str) -> str:
    """The pathname as only one node means it: ``~local`` is that node."""
    return "/".join(kernel_id if part == "~local" else part for part in path.split(pn))


def anywhere(pn: str) -> str:
    """The pathname for those who do not mind which node serves it."""
    return "/".join("~any" if part == "~local" else part for part in path.split(pn))


def here(pn: str) -> str:
    """The pathname by way of one's own node, where any would do."""
    return "/".join("~local" if part == "~any" else part for part in path.split(pn))


def is_objects(pn: str) -> bool:
    """True for what all nodes' servers see alike: S3."""
    return path.split(pn)[1:2] == ["s3"]


def output_directory(output: str, job: str) -> str:
    """Where a job's files of output stand. On S3 by way of the own node."""
    root = output.rstrip("/")
    return f"{here(root) if is_objects(root) else root}/{job}"
