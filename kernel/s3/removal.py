"""Directories that are removed with all that is below them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.s3 import state
from sigmaos_ray import config, serr

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernel.s3.store import Account


async def remove_below(account: Account, bucket: str, prefix: str, on_removed: Callable[[list[str]], None]) -> None:
    """Removes all keys below, a thousand per request; the marks go last, so that an error leaves a directory.
    ``on_removed`` gets the keys that went. NotEmpty for a key that no pathname leads to, which stays."""
    beginning, marks = state.within(prefix), state.markers(prefix)
    # A bound: with somebody who writes faster than we remove, this would have no end.
    for _ in range(config.current().proxy.s3_removal_rounds_max):
        await _round(account, bucket, prefix, on_removed)
        # S3 has no locks: others may have written while the round went on.
        remaining = [key for key, _ in (await account.keys(bucket, beginning, count=len(marks) + 1)).keys]
        if marks.issuperset(remaining):
            if remaining:
                await account.delete_many(bucket, remaining)
            return
    raise serr.NotEmpty(_name(prefix), "entries come while they are removed")


async def _round(account: Account, bucket: str, prefix: str, on_removed: Callable[[list[str]], None]) -> None:
    marks = state.markers(prefix)
    after, hidden = "", ""
    while True:
        page = await account.keys(bucket, state.within(prefix), after)
        keys = [key for key, _ in page.keys if key not in marks]
        reached = [key for key in keys if state.is_reachable(key, prefix)]
        # All else is removed all the same: the error comes at the end, when it names what is left.
        hidden = hidden or next((key for key in keys if not state.is_reachable(key, prefix)), "")
        if reached:
            await account.delete_many(bucket, reached)
            on_removed(reached)
        if page.is_last:
            break
        # By key: a continuation token would stand for a list that no longer is.
        after = page.keys[-1][0]
    if hidden:
        raise serr.NotEmpty(_name(prefix), f"no pathname leads to the key {hidden!r}")


def _name(prefix: str) -> str:
    return prefix.rpartition("/")[2]
