"""The tree against a simple model: random operations, and what a restart would find in etcd (D-2, P-11, W-2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel.named.keys import Keys
from kernel.named.state import ROOT_INO, Contents, Entry, Inode, InodeTree, Meta, Plan, merged, page
from sigmaos_ray import serr
from sigmaos_ray.protsrv.watch import EventKind
from sigmaos_ray.sigmap import DMDIR, DMNAMEDPIPE, DMSOCKET, DMSYMLINK, NO_OFFSET

if TYPE_CHECKING:
    from collections.abc import Callable

KEYS = Keys("r")
NAMES = ("a", "b", "ä")
LEASES = (0, 7)

Shown = dict[tuple[str, ...], bytes | None]
"""What a tree shows: by path, contents; None for a directory."""


class Stored:
    """etcd: keys, the revision of each, and the leases that they hang on."""

    def __init__(self) -> None:
        self.keys: dict[bytes, tuple[bytes, int, int]] = {}
        self.revision = 1

    def commit(self, plan: Plan) -> int:
        self.revision += 1
        for key, (value, lease) in KEYS.operations(plan).items():
            if value is None:
                del self.keys[key]  # a plan deletes only what is there
            else:
                self.keys[key] = (value, self.revision, lease)
        return self.revision

    def end_lease(self, lease: int) -> list[tuple[int, str]]:
        """Deletes its keys; returns the entries among them."""
        self.revision += 1
        gone = [key for key, (_, _, held) in self.keys.items() if held == lease]
        for key in gone:
            assert key.startswith(KEYS.leased)
            del self.keys[key]
        return [entry for key in gone if (entry := KEYS.parse_entry_key(key)) is not None]

    def load(self) -> tuple[InodeTree, list[Inode]]:
        tree = InodeTree()
        entries = []
        for key, (value, revision, _) in self.keys.items():
            decoded = KEYS.decode(key, value)
            if isinstance(decoded, Entry):
                entries.append(decoded)
            else:
                tree.load(decoded, revision)
        return tree, tree.link(entries, self.revision)


class World:
    """A tree, what is stored of it, and the model that both must agree with."""

    def __init__(self) -> None:
        self.stored = Stored()
        self.stored.commit(Plan(put_contents=[Contents(ROOT_INO, Meta(DMDIR | 0o777, 0.0), b"")]))
        self.tree = InodeTree()
        self.model: Shown = {}
        self.leased: dict[tuple[str, ...], int] = {}
        self.last_ino = ROOT_INO
        self.versions: dict[int, int] = {}

    def find(self, way: tuple[str, ...]) -> Inode | None:
        here = self.tree.root
        for name in way:
            found = here.children.get(name)
            if found is None:
                return None
            here = found
        return here

    def check(self) -> None:
        assert shown(self.tree.root) == self.model
        again, strays = self.stored.load()
        assert not strays
        assert shown(again.root) == self.model
        assert set(again.inodes) == set(self.tree.inodes)
        for ino, inode in self.tree.inodes.items():
            assert inode.version >= self.versions.get(ino, 0)
            assert again.inodes[ino].version >= inode.version
            self.versions[ino] = inode.version


def shown(directory: Inode, way: tuple[str, ...] = ()) -> Shown:
    assert directory.names == sorted(directory.children)
    found: Shown = {}
    for name, inode in directory.children.items():
        assert (inode.parent, inode.name) == (directory, name)
        assert inode.length == len(inode.data or b"")
        found[(*way, name)] = None if inode.is_dir else inode.data
        found |= shown(inode, (*way, name))
    return found


paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(tuple)
operations = st.one_of(
    st.tuples(st.just("create"), paths, st.binary(max_size=3), st.sampled_from(LEASES)),
    st.tuples(st.just("mkdir"), paths),
    st.tuples(st.just("write"), paths, st.binary(max_size=3)),
    st.tuples(st.just("remove"), paths),
    st.tuples(st.just("rename"), paths, paths),
    st.tuples(st.just("expire")),
    st.tuples(st.just("restart")),
)


def _create(world: World, way: tuple[str, ...], data: bytes, lease: int, perm: int = 0o777) -> None:
    directory = world.find(way[:-1])
    if directory is None or not directory.is_dir:
        return
    world.last_ino += 1
    plan = None
    try:
        plan = world.tree.plan_create(directory, way[-1], world.last_ino, perm, data, lease, 1.0)
    except serr.Exists:
        assert way in world.model
        return
    assert way not in world.model
    before = directory.version
    world.tree.apply_create(directory, way[-1], plan, world.stored.commit(plan), 1.0)
    assert directory.version > before
    world.model[way] = None if perm & DMDIR else data
    if lease:
        world.leased[way] = lease


def _mkdir(world: World, way: tuple[str, ...]) -> None:
    _create(world, way, b"", 0, DMDIR | 0o777)


def _write(world: World, way: tuple[str, ...], data: bytes) -> None:
    inode = world.find(way)
    if inode is None or inode.is_dir:
        return
    before = inode.version
    world.tree.apply_write(inode, data, world.stored.commit(world.tree.plan_write(inode, data, 2.0)), 2.0)
    assert inode.version > before
    world.model[way] = data


def _remove(world: World, way: tuple[str, ...]) -> None:
    inode = world.find(way)
    if inode is None:
        return
    directory = inode.parent
    assert directory is not None
    has_children = any(len(other) > len(way) and other[: len(way)] == way for other in world.model)
    try:
        plan = world.tree.plan_remove(inode, 3.0)
    except serr.NotEmpty:
        assert has_children
        return
    assert not has_children
    before = directory.version
    world.tree.apply_remove(inode, world.stored.commit(plan), 3.0)
    assert directory.version > before
    del world.model[way]
    world.leased.pop(way, None)
    with pytest.raises(serr.NotFound):
        world.tree.plan_remove(inode, 3.0)


def _rename(world: World, old: tuple[str, ...], new: tuple[str, ...]) -> None:
    inode, target = world.find(old), world.find(new[:-1])
    if inode is None or target is None or not target.is_dir or old == new:
        return
    refusal = _why_not(world.model, old, new)
    if refusal is not None:
        with pytest.raises(refusal):
            world.tree.plan_rename(inode, target, new[-1], 4.0)
        return
    source = inode.parent
    assert source is not None
    plan = world.tree.plan_rename(inode, target, new[-1], 4.0)
    events = world.tree.apply_rename(inode, target, new[-1], world.stored.commit(plan), 4.0)
    moves = [(dir_ino, event.kind, event.name) for dir_ino, event in events]
    replaced = [(target.ino, EventKind.REMOVED, new[-1])] if new in world.model else []
    assert moves == [*replaced, (source.ino, EventKind.REMOVED, old[-1]), (target.ino, EventKind.CREATED, new[-1])]
    world.model.pop(new, None)
    world.leased.pop(new, None)
    world.model = {_moved(way, old, new): data for way, data in world.model.items()}
    world.leased = {_moved(way, old, new): lease for way, lease in world.leased.items()}


def _moved(way: tuple[str, ...], old: tuple[str, ...], new: tuple[str, ...]) -> tuple[str, ...]:
    return new + way[len(old) :] if way[: len(old)] == old else way


def _why_not(model: Shown, old: tuple[str, ...], new: tuple[str, ...]) -> type[serr.SigmaError] | None:
    moves_dir = model[old] is None
    if moves_dir and new[: len(old)] == old:
        return serr.Inval
    if new not in model:
        return None
    if model[new] is not None:
        return serr.NotDir if moves_dir else None
    if not moves_dir:
        return serr.IsDir
    return serr.NotEmpty if any(way[: len(new)] == new and way != new for way in model) else None


def _expire(world: World) -> None:
    for dir_ino, name in world.stored.end_lease(7):
        directory = world.tree.inodes[dir_ino]
        world.tree.apply_remove(directory.children[name], world.stored.revision, 5.0)
    for way in world.leased:
        del world.model[way]
    world.leased.clear()


def _restart(world: World) -> None:
    world.tree, _ = world.stored.load()


APPLY: dict[str, Callable[..., None]] = {
    "create": _create,
    "mkdir": _mkdir,
    "write": _write,
    "remove": _remove,
    "rename": _rename,
    "expire": _expire,
    "restart": _restart,
}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(operations, max_size=25))
def test_any_sequence_shows_and_stores_what_the_model_says(sequence: list[tuple[object, ...]]) -> None:
    world = World()
    for kind, *args in sequence:
        APPLY[str(kind)](world, *args)
        world.check()


@given(st.binary(max_size=8), st.integers(0, 12), st.binary(max_size=8))
def test_a_write_in_place(old: bytes, offset: int, data: bytes) -> None:
    """P-10: a gap is filled with zeros, what stands behind stays."""
    whole = merged(old, offset, data)
    assert whole[offset : offset + len(data)] == data
    assert whole[:offset] == old[:offset].ljust(offset, b"\0")
    assert whole[offset + len(data) :] == old[offset + len(data) :]
    assert merged(old, NO_OFFSET, data) == old + data


@given(st.sets(st.text(min_size=1, max_size=4), max_size=20), st.integers(1, 7))
def test_pages_are_complete_and_in_order(names: set[str], limit: int) -> None:
    """P-12, also when names are longer than one byte each."""
    tree = InodeTree()
    for ino, name in enumerate(names, start=2):
        tree.apply_create(tree.root, name, tree.plan_create(tree.root, name, ino, 0o777, b"", 0, 0.0), ino, 0.0)
    listed: list[str] = []
    while got := page(tree.root, listed[-1] if listed else "", limit):
        assert len(got) <= limit
        listed += [inode.name for inode in got]
    assert listed == sorted(names)


def _with_dir() -> tuple[InodeTree, Inode]:
    tree = InodeTree()
    plan = tree.plan_create(tree.root, "d", 2, DMDIR | 0o777, b"", 0, 0.0)
    return tree, tree.apply_create(tree.root, "d", plan, 2, 0.0)


def test_what_cannot_be_made() -> None:
    tree, directory = _with_dir()
    with pytest.raises(serr.Inval):
        tree.plan_create(directory, "socket", 3, DMSOCKET | 0o777, b"", 0, 0.0)
    with pytest.raises(serr.NotSupported):
        tree.plan_create(directory, "pipe", 3, DMNAMEDPIPE | 0o777, b"", 0, 0.0)
    with pytest.raises(serr.NotSupported):
        tree.plan_create(directory, "leased", 3, DMDIR | 0o777, b"", 7, 0.0)
    tree.apply_remove(directory, 3, 0.0)
    with pytest.raises(serr.NotFound):
        tree.plan_create(directory, "f", 3, 0o777, b"", 0, 0.0)


def test_the_root_stays() -> None:
    tree, directory = _with_dir()
    with pytest.raises(serr.Inval):
        tree.plan_remove(tree.root, 0.0)
    with pytest.raises(serr.Inval):
        tree.plan_rename(tree.root, directory, "x", 0.0)


def test_an_object_without_a_name_is_a_stray() -> None:
    tree = InodeTree()
    tree.load(Contents(2, Meta(0o777, 0.0), b"lost", 7), 5)
    tree.load(Contents(3, Meta(DMSYMLINK | 0o777, 0.0), b"named"), 6)
    strays = tree.link([Entry(ROOT_INO, "link", 3), Entry(ROOT_INO, "nothing", 4), Entry(9, "nowhere", 3)], 8)
    assert [(stray.ino, stray.lease) for stray in strays] == [(2, 7)]
    assert list(tree.root.children) == ["link"]
    assert tree.root.version == 8


def test_a_realm_is_one_component() -> None:
    for name in ("", "a/b"):
        with pytest.raises(serr.Inval):
            Keys(name)
