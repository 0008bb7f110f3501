"""What a server must do instead of what it cannot: raise NotSupported, and change nothing.

``needs`` marks the tests of what only some servers can; on the others the refusal is tested in their place, so that no
suite is skipped in silence.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeAlias, TypeVar, cast

import pytest

from sigmaos_ray import serr
from sigmaos_ray.fslib import Create
from sigmaos_ray.sigmap import DMDEVICE, FENCES, OAPPEND, ORDWR, OWRITE, STATSD, Endpoint, Fence, path

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from sigmaos_ray.testing.conformance.base import Suite, Tree

S = TypeVar("S", bound="Suite")
P = ParamSpec("P")
Test: TypeAlias = "Callable[Concatenate[S, Tree, P], Coroutine[Any, Any, None]]"


async def _refused(call: Awaitable[object], kind: type[serr.SigmaError] = serr.NotSupported) -> None:
    with pytest.raises(kind):
        await call


async def _rename(tree: Tree) -> None:
    await tree.sc.put_file(tree / "f", b"1")
    await tree.sc.mkdir(tree / "d")
    for old, new in (("f", "g"), ("f", "d/f"), ("d", "e")):
        await _refused(tree.sc.rename(tree / old, tree / new))
    assert await tree.names() == ["d", "f"]


async def _append(tree: Tree) -> None:
    await tree.sc.put_file(tree / "f", b"1")
    await _refused(tree.sc.open(tree / "f", OWRITE | OAPPEND))
    await _refused(tree.sc.put_file(tree / "f", b"2", mode=OWRITE | OAPPEND))
    assert await tree.sc.get_file(tree / "f") == b"1"


async def _read_write(tree: Tree) -> None:
    await tree.sc.put_file(tree / "f", b"1")
    await _refused(tree.sc.open(tree / "f", ORDWR))
    await _refused(tree.sc.create(tree / "g", mode=ORDWR))
    assert await tree.names() == ["f"]


async def _writes_in_place(tree: Tree) -> None:
    await tree.sc.put_file(tree / "f", b"12345")
    await _refused(tree.sc.set_file(tree / "f", b"X", offset=1), serr.Inval)
    fd = await tree.sc.open(tree / "f", OWRITE)
    await tree.sc.seek(fd, 1)
    await _refused(tree.sc.write(fd, b"X"), serr.Inval)
    await tree.sc.close_fd(fd)
    assert await tree.sc.get_file(tree / "f") == b"12345"


async def _keeps_removed(tree: Tree) -> None:
    """Who reads on gets an error, not other contents."""
    await tree.sc.put_file(tree / "f", b"1")
    fd = await tree.sc.open(tree / "f")
    await tree.sc.remove(tree / "f")
    await _refused(tree.sc.read(fd, 10), serr.NotFound)
    await tree.sc.close_fd(fd)


async def _links(tree: Tree) -> None:
    await _refused(tree.sc.symlink(tree.root, tree / "l"))
    await _refused(tree.sc.mk_endpoint_file(tree / "m", Endpoint(addrs=("127.0.0.1:1",))))
    assert await tree.names() == []


async def _devices(tree: Tree) -> None:
    await _refused(tree.sc.create(tree / "f", DMDEVICE | 0o777))
    assert await tree.names() == []


async def _pipes(tree: Tree) -> None:
    await _refused(tree.sc.new_pipe(tree / "p"))
    assert await tree.names() == []


async def _leases(tree: Tree) -> None:
    await _refused(tree.sc.put_leased_file(tree / "f", b"", 1))
    with pytest.raises(serr.SigmaError):
        await tree.lease()
    assert await tree.names() == []


async def _fences(tree: Tree) -> None:
    await tree.sc.fence_dir(tree.root, Fence(tree.root, 1))
    await _refused(tree.sc.put_file(tree / "f", b""))
    await tree.sc.fence_dir(tree.root, Fence())
    assert await tree.names() == []


async def _shows_fences(tree: Tree) -> None:
    await _refused(tree.sc.get_dir(path.join(await tree.sc.server_of(tree / "x"), FENCES)), serr.NotFound)


async def _watches(tree: Tree) -> None:
    async def watch() -> None:
        async with tree.sc.watch_dir(tree.root):
            pass

    await _refused(watch())


async def _mtime(tree: Tree) -> None:
    await tree.sc.put_file(tree / "f", b"")
    assert (await tree.sc.stat(tree / "f")).mtime == 0


async def _versions(tree: Tree) -> None:
    await tree.sc.put_file(tree / "f", b"1")
    before = await tree.sc.stat(tree / "f")
    await tree.sc.put_file(tree / "f", b"2")
    assert (await tree.sc.stat(tree / "f")).qid == before.qid


async def _reports(tree: Tree) -> None:
    await _refused(tree.sc.get_file(path.join(await tree.sc.server_of(tree / "x"), STATSD)), serr.NotFound)


async def _transactions(tree: Tree) -> None:
    await _refused(tree.sc.transact([Create(tree / "f")]))
    assert await tree.names() == []


REFUSALS: Final[dict[str, Callable[[Tree], Awaitable[None]]]] = {
    "rename": _rename,
    "append": _append,
    "read_write": _read_write,
    "writes_in_place": _writes_in_place,
    "keeps_removed": _keeps_removed,
    "links": _links,
    "devices": _devices,
    "pipes": _pipes,
    "leases": _leases,
    "fences": _fences,
    "shows_fences": _shows_fences,
    "transactions": _transactions,
    "watches": _watches,
    "mtime": _mtime,
    "versions": _versions,
    "reports": _reports,
}
"""By capability: what a server without it must do."""


def needs(*capabilities: str) -> Callable[[Test[S, P]], Test[S, P]]:
    """Marks a test of what only servers with these ``Capabilities`` do. For a server that declares one of them missing
    the test's body is replaced by its entry of ``REFUSALS``."""
    unknown = set(capabilities) - set(REFUSALS)
    assert not unknown, f"nothing says how {unknown} are refused"

    def decorate(test: Test[S, P]) -> Test[S, P]:
        @functools.wraps(test)
        async def run(self: S, tree: Tree, *args: P.args, **kwargs: P.kwargs) -> None:
            lacking = [each for each in capabilities if not getattr(tree.can, each)]
            if lacking:
                await REFUSALS[lacking[0]](tree)
            else:
                await test(self, tree, *args, **kwargs)

        return cast("Test[S, P]", run)

    return decorate
