"""A candidate's copy against the tree of the leader whose plans it follows."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.named.contents import ContentsCache
from kernel.named.keys import Keys
from kernel.named.replica import Replica
from kernel.named.state import ROOT_INO, Contents, Inode, InodeTree, Meta, Plan
from sigmaos_ray import serr
from sigmaos_ray.sigmap import DMDIR

KEYS = Keys("r")


def replica(bytes_max: int = 1 << 20) -> tuple[Replica, ContentsCache]:
    cache = ContentsCache(None, KEYS, bytes_max)  # type: ignore[arg-type]
    return Replica(KEYS, cache), cache


def follow(copy: Replica, plan: Plan, revision: int) -> None:
    for key, (value, _) in KEYS.operations(plan).items():
        if value is None:
            copy.delete(key)
        else:
            copy.put(key, value, revision)


def shown(tree: InodeTree) -> dict[str, tuple[bytes | None, int]]:
    files: dict[str, tuple[bytes | None, int]] = {}

    def visit(inode: Inode, path: str) -> None:
        for name, child in inode.children.items():
            files[f"{path}/{name}"] = (child.data, child.lease)
            visit(child, f"{path}/{name}")

    visit(tree.root, "")
    return files


class Leader:
    """A tree and the copy that follows it."""

    def __init__(self) -> None:
        self.tree = InodeTree()
        self.copy, self.cache = replica()
        self.revision = 1
        follow(self.copy, Plan(put_contents=[Contents(ROOT_INO, Meta(self.tree.root.perm, 1.0), b"")]), 1)

    def create(self, directory: Inode, name: str, data: bytes, *, is_dir: bool, lease: int) -> None:
        self.revision += 1
        perm = 0o777 | (DMDIR if is_dir else 0)
        plan = self.tree.plan_create(directory, name, self.revision + 100, perm, data, lease, 1.0)
        self.tree.apply_create(directory, name, plan, self.revision, 1.0)
        follow(self.copy, plan, self.revision)

    def write(self, inode: Inode, data: bytes) -> None:
        self.revision += 1
        plan = self.tree.plan_write(inode, data, 1.0)
        self.tree.apply_write(inode, data, self.revision, 1.0)
        follow(self.copy, plan, self.revision)

    def remove(self, inode: Inode) -> None:
        self.revision += 1
        plan = self.tree.plan_remove(inode, 1.0)
        self.tree.apply_remove(inode, self.revision, 1.0)
        follow(self.copy, plan, self.revision)

    def rename(self, inode: Inode, target: Inode, name: str) -> None:
        self.revision += 1
        plan = self.tree.plan_rename(inode, target, name, 1.0)
        self.tree.apply_rename(inode, target, name, self.revision, 1.0)
        follow(self.copy, plan, self.revision)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_the_copy_is_the_leaders_tree(data: st.DataObject) -> None:
    leader = Leader()
    for _ in range(data.draw(st.integers(1, 40))):
        inodes = list(leader.tree.inodes.values())
        inode = inodes[data.draw(st.integers(0, len(inodes) - 1))]
        directories = [each for each in inodes if each.is_dir]
        directory = directories[data.draw(st.integers(0, len(directories) - 1))]
        name = data.draw(st.sampled_from("abc"))
        try:
            match data.draw(st.sampled_from(["create", "create", "dir", "lease", "write", "remove", "rename"])):
                case "create":
                    leader.create(directory, name, b"x", is_dir=False, lease=0)
                case "dir":
                    leader.create(directory, name, b"", is_dir=True, lease=0)
                case "lease":
                    leader.create(directory, name, b"leased", is_dir=False, lease=5)
                case "write" if not inode.is_dir:
                    leader.write(inode, name.encode())
                case "remove":
                    leader.remove(inode)
                case "rename" if directory.children.get(name) is not inode:
                    leader.rename(inode, directory, name)
        except serr.SigmaError:
            continue
    leased = {inode.lease for inode in leader.tree.inodes.values() if inode.lease}
    assert leader.copy.leases() == leased
    tree, strays = leader.copy.grow(99)
    assert shown(tree) == shown(leader.tree)
    assert not strays
    assert leader.cache.size_bytes == sum(
        inode.length for inode in tree.inodes.values() if not inode.is_dir and not inode.lease
    )


def test_putting_and_deleting_twice_does_no_harm() -> None:
    leader = Leader()
    leader.create(leader.tree.root, "f", b"x", is_dir=False, lease=0)
    plan = leader.tree.plan_remove(leader.tree.root.children["f"], 1.0)
    leader.create(leader.tree.root, "g", b"y", is_dir=False, lease=0)
    for _ in range(2):
        follow(leader.copy, plan, 50)
    tree, strays = leader.copy.grow(99)
    assert list(tree.root.children) == ["g"]
    assert not strays


def test_keys_outside_of_the_tables_are_passed_over() -> None:
    copy, _ = replica()
    copy.put(KEYS.txn, b"mark", 2)
    copy.put(KEYS.election + b"0001", b"{}", 3)
    copy.put(KEYS.fence("name/leader"), b"?", 4)
    copy.delete(KEYS.txn)
    copy.delete(KEYS.election + b"0001")
    tree, strays = copy.grow(9)
    assert not tree.root.children
    assert not strays


def test_what_no_entry_names_is_told() -> None:
    copy, cache = replica()
    follow(copy, Plan(put_contents=[Contents(7, Meta(0o777, 1.0), b"stray")]), 5)
    tree, (stray,) = copy.grow(9)
    assert stray.ino == 7
    assert 7 not in tree.inodes
    assert cache.size_bytes == 0


def test_contents_are_kept_up_to_a_bound() -> None:
    copy, cache = replica(bytes_max=10)
    for ino in range(2, 12):
        follow(copy, Plan(put_contents=[Contents(ino, Meta(0o777, 1.0), b"12345")]), ino)
    assert cache.size_bytes == 10
