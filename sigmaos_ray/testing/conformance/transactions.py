"""Transactions: several changes in one moment, or none; and sequential names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import serr
from sigmaos_ray.fslib import Check, Create, Put, Remove
from sigmaos_ray.testing.conformance.base import Suite, Tree
from sigmaos_ray.testing.conformance.refusals import needs

if TYPE_CHECKING:
    from sigmaos_ray.fslib import Change


class TransactionTests(Suite):
    """A server that has none says so, and has changed nothing."""

    @needs("transactions")
    async def test_all_or_none(self, tree: Tree) -> None:
        """One bad change spoils the others; without it all are made."""
        await tree.sc.put_file(tree / "f", b"old")
        version = (await tree.sc.stat(tree / "f")).qid.version
        good: list[Change] = [Create(tree / "new", b"n"), Put(tree / "f", b"new", version)]
        with pytest.raises(serr.NotFound):
            await tree.sc.transact([*good, Remove(tree / "none")])
        assert await tree.names() == ["f"]
        assert await tree.sc.get_file(tree / "f") == b"old"
        await tree.sc.transact(good)
        assert await tree.names() == ["f", "new"]
        assert await tree.sc.get_file(tree / "f") == b"new"

    @needs("transactions")
    async def test_another_version(self, tree: Tree) -> None:
        """What changed since it was looked at is not overwritten, removed or relied on."""
        await tree.sc.put_file(tree / "f", b"1")
        version = (await tree.sc.stat(tree / "f")).qid.version
        await tree.sc.put_file(tree / "f", b"2")
        for change in (Put(tree / "f", b"3", version), Remove(tree / "f", version), Check(tree / "f", version)):
            with pytest.raises(serr.Version):
                await tree.sc.transact([change])
        assert await tree.sc.get_file(tree / "f") == b"2"

    @needs("transactions")
    async def test_numbers_count_up(self, tree: Tree) -> None:
        """A number is given once, also after what had it is gone."""
        numbers = []
        for _ in range(3):
            [outcome] = await tree.sc.transact([Create(tree / "e-", sequential=True)])
            numbers.append(int(outcome.pathname.removeprefix(tree / "e-")))
            await tree.sc.remove(outcome.pathname)
        assert numbers == sorted(set(numbers))
