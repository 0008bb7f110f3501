"""What etcd was asked for, by pathname (D-9)."""

from __future__ import annotations

import json

from kernel.named.pathstats import PathStats, pathname_of
from kernel.named.state import Inode
from sigmaos_ray.sigmap import DMDIR


def below(parent: Inode | None, name: str, perm: int = 0o777) -> Inode:
    inode = Inode(7, perm)
    inode.parent, inode.name = parent, name
    return inode


ROOT = below(None, "", DMDIR)
FILE = below(below(ROOT, "d", DMDIR), "f")


def test_reads_and_writes_are_counted_by_pathname() -> None:
    stats = PathStats()
    for _ in range(2):
        stats.put(FILE)
    stats.got(FILE)
    stats.put(ROOT)
    assert json.loads(stats.to_json()) == {"name/d/f": {"gets": 1, "puts": 2}, "name": {"gets": 0, "puts": 1}}


def test_an_object_without_a_name_counts_by_what_is_left_of_it() -> None:
    assert pathname_of(below(None, "removed")) == "name"


def test_pathnames_are_bounded_and_the_longest_unused_goes() -> None:
    stats = PathStats(paths_max=2)
    for name in ("a", "b", "a", "c"):
        stats.put(below(ROOT, name))
    assert set(json.loads(stats.to_json())) == {"name/a", "name/c"}
