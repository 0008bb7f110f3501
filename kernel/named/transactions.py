"""Several changes in one moment: locked together, planned one by one, stored by one plan.

Sequential names are ZooKeeper's: the number is the directory's, is never given twice, also over a change of leader, and
whoever sees an entry with a number sees all with smaller ones that are ever made.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, NamedTuple

from kernel.named.fs import CONTENTS, Key, Prepared
from kernel.named.state import Plan
from sigmaos_ray import serr
from sigmaos_ray.protsrv.node import ChangeKind, ChangeOutcome, EntryChange, OpenHow, check_no_server
from sigmaos_ray.protsrv.transact import sequential_name
from sigmaos_ray.sigmap import Qid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernel.named.fs import NamedFs
    from kernel.named.state import Inode
    from sigmaos_ray.sigmap import Fence


class Wanted(NamedTuple):
    """A change, and the inode of its directory."""

    change: EntryChange
    directory: Inode

    @property
    def target(self) -> Inode | None:
        """What the change is about today; None for what is to get a number."""
        return None if self.change.sequential else self.directory.children.get(self.change.name)


async def transact(fs: NamedFs, wanted: Sequence[Wanted], fences: Sequence[Fence]) -> list[ChangeOutcome]:
    """Makes all changes, or none (see ``Dir.transact``)."""
    _refuse_tangled(wanted)
    while True:
        targets = [each.target for each in wanted]
        exclusive, shared = _locks(wanted, targets)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(fs.locks.hold(exclusive=exclusive, shared=shared))
            # The locks were chosen by what was there before they were waited for. If that changed, others are needed.
            if any(each.target is not target for each, target in zip(wanted, targets, strict=True)):
                continue
            # Last, as nothing waits from here until the plan is with the committer: smaller numbers are stored first.
            names = [await _name(fs, each, stack) for each in wanted]
            return await _commit(fs, wanted, names, fences)


async def _commit(
    fs: NamedFs, wanted: Sequence[Wanted], names: Sequence[str], fences: Sequence[Fence]
) -> list[ChangeOutcome]:
    """``names``: what each change is about in the end. All locks are held."""
    prepared = [_prepare(fs, each, name) for each, name in zip(wanted, names, strict=True)]
    whole = _joined(fs, [one for one in prepared if one is not None])
    _check_room(fs, whole, fences)
    await fs.committer.commit(whole.plan, fences, whole.apply, whole.beside)
    return [_outcome(each, name, one) for each, name, one in zip(wanted, names, prepared, strict=True)]


def _refuse_tangled(wanted: Sequence[Wanted]) -> None:
    """Changes that depend on one another: each is planned on what was there before all of them."""
    named = [(each.directory.ino, each.change.name) for each in wanted if not each.change.sequential]
    if len(named) != len(set(named)):
        raise serr.Inval("transaction", "two changes of one name")
    removed = {id(each.target) for each in wanted if each.change.kind is ChangeKind.REMOVE}
    for each in wanted:
        if id(each.directory) in removed:
            raise serr.Inval(each.change.name, "in a directory that the same transaction removes")


def _locks(wanted: Sequence[Wanted], targets: Sequence[Inode | None]) -> tuple[list[Key], list[Key]]:
    """Exclusive and shared ones; those of a name that is yet to get its number come later."""
    # Whoever changes entries of a directory holds its lock shared: so held exclusively, an empty one stays empty.
    exclusive: list[Key] = []
    for each, target in zip(wanted, targets, strict=True):
        if not each.change.sequential:
            exclusive.append((each.directory.ino, each.change.name))
        if target is not None:
            exclusive.append((target.ino, "" if target.is_dir else CONTENTS))
    return exclusive, [(each.directory.ino, "") for each in wanted]


async def _name(fs: NamedFs, each: Wanted, stack: AsyncExitStack) -> str:
    """The name of what is made. A number is taken in the moment in which the change is planned, so its name's lock is
    not waited for: where somebody has the name already, or is about to make it, the next number is it."""
    if not each.change.sequential:
        return each.change.name
    directory = each.directory
    while True:
        name = sequential_name(each.change.name, directory.next_number)
        # In memory at once, in etcd with the plan: what fails leaves a gap, and no two entries share a number.
        directory.next_number += 1
        if name not in directory.children and fs.locks.is_readable((directory.ino, name)):
            await stack.enter_async_context(fs.locks.hold(exclusive=[(directory.ino, name)]))
            return name


def _prepare(fs: NamedFs, each: Wanted, name: str) -> Prepared | None:
    """None for what changes nothing."""
    change = each.change
    if change.kind is ChangeKind.CREATE:
        how = OpenHow(perm=change.perm, lease=change.lease)
        return fs.prepare_create(each.directory, name, change.data, how)
    inode = each.directory.children.get(name)
    if inode is None:
        raise serr.NotFound(name)
    if change.version not in (0, inode.version):
        raise serr.Version(name, f"version {inode.version}, not {change.version}")
    if change.kind is ChangeKind.CHECK:
        return None
    if change.kind is ChangeKind.REMOVE:
        if not change.version:
            check_no_server(name, Qid.of(inode.perm, inode.version, inode.ino))
        return fs.prepare_remove(inode)
    if inode.is_dir:
        raise serr.IsDir(name)
    return fs.prepare_write(inode, change.data, change.lease)


def _joined_plan(plans: Sequence[Plan]) -> Plan:
    return Plan(
        put_entries=[entry for plan in plans for entry in plan.put_entries],
        # A directory that several of them touch is in there as often; of one key the last one holds.
        put_contents=[contents for plan in plans for contents in plan.put_contents],
        delete_entries=[entry for plan in plans for entry in plan.delete_entries],
        delete_contents=[contents for plan in plans for contents in plan.delete_contents],
    )


def _joined(fs: NamedFs, prepared: Sequence[Prepared]) -> Prepared:
    plan = _joined_plan([one.plan for one in prepared])
    beside = {}
    for one in prepared:
        beside.update(one.beside or {})

    def apply(revision: int) -> None:
        for one in prepared:
            one.apply(revision)

    return Prepared(plan, apply, fs.tree.root, beside)


def _check_room(fs: NamedFs, whole: Prepared, fences: Sequence[Fence]) -> None:
    """Inval for what one transaction of etcd does not take."""
    count = len(fs.keys.operations(whole.plan)) + len(whole.beside or {}) + len(fences)
    if count > fs.config.commit_ops_max:
        raise serr.Inval("transaction", f"{count} keys: one has at most {fs.config.commit_ops_max}")


def _outcome(each: Wanted, name: str, prepared: Prepared | None) -> ChangeOutcome:
    if each.change.kind is ChangeKind.REMOVE:
        return ChangeOutcome(name, 0)
    inode = prepared.inode if prepared is not None else each.directory.children[name]
    return ChangeOutcome(name, inode.version)
