"""How clients find named again: the state file, then the hook, which may cost more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import serr
from sigmaos_ray.config import Locating, ProcEnv
from sigmaos_ray.fslib import locate
from sigmaos_ray.fslib.locate import NamedLocator
from sigmaos_ray.instance import Instance
from sigmaos_ray.sigmap import Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OLD, NEW = Endpoint(addrs=("127.0.0.1:1",)), Endpoint(addrs=("127.0.0.1:2",))


class Hook:
    """Asked so many times; tells what it is told to tell."""

    def __init__(self) -> None:
        self.asked_count = 0
        self.answer: Endpoint | None = OLD

    def __call__(self) -> Endpoint | None:
        self.asked_count += 1
        return self.answer


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()
    locate.install_hook(hook)
    yield hook
    locate.install_hook(None)


def write(file: Path, named: Endpoint) -> None:
    instance = Instance(realm="rootrealm", state_dir="", boot_pid=0, named=named)
    file.write_bytes(instance.to_json())


def env(state_file: Path | str = "") -> ProcEnv:
    return ProcEnv(pid="test", named=OLD, state_file=str(state_file))


async def test_the_state_file_tells_a_move(tmp_path: Path, hook: Hook) -> None:
    file = tmp_path / "instance.json"
    write(file, OLD)
    locator = NamedLocator(env(file))
    assert not await locator.has_moved(OLD)
    write(file, NEW)
    assert await locator.has_moved(OLD)
    assert await locator.current() == NEW
    assert not hook.asked_count


async def test_the_hook_is_asked_without_one_but_not_all_the_time(hook: Hook) -> None:
    locator = NamedLocator(env("/nonexistent/file"))
    for _ in range(10):
        assert not await locator.has_moved(OLD)
    assert hook.asked_count == 1
    hook.answer = NEW
    await locator.refresh()  # after a failure: at once
    assert await locator.has_moved(OLD)


async def test_nobody_who_tells_means_no_move(tmp_path: Path) -> None:
    for state_file in ("", tmp_path / "absent"):
        assert not await NamedLocator(env(state_file)).has_moved(OLD)
    write(tmp_path / "starting", Endpoint())
    assert not await NamedLocator(env(tmp_path / "starting")).has_moved(OLD)


async def test_a_dial_ends_when_named_moves(tmp_path: Path) -> None:
    file = tmp_path / "instance.json"
    write(file, OLD)
    locator = NamedLocator(env(file), Locating(dial_poll_s=0.001))
    dialling = asyncio.Event()

    async def dial() -> None:
        dialling.set()
        await asyncio.Event().wait()

    waiting = asyncio.create_task(locator.while_there(OLD, dial()))
    await dialling.wait()
    write(file, NEW)
    with pytest.raises(serr.Unreachable):
        await asyncio.wait_for(waiting, 10)


async def test_what_a_dial_returns_or_raises() -> None:
    async def dial(error: Exception | None) -> int:
        if error is not None:
            raise error
        return 7

    locator = NamedLocator(env())
    assert await locator.while_there(OLD, dial(None)) == 7
    with pytest.raises(serr.Perm):
        await locator.while_there(OLD, dial(serr.Perm("name")))
