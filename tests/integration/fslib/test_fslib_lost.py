"""A session that is lost in the middle of a call that only looks: the call looks again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from sigmaos_ray import serr
from sigmaos_ray.fslib.fidclnt import RemoteFid

if TYPE_CHECKING:
    from sigmaos_ray.fslib import AsyncFsLib


class Losing:
    """Ends the session of a fid while the first calls of one method are on their way."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, method: str, count: int = 1) -> None:
        self.lost_count = 0
        real = getattr(RemoteFid, method)

        async def losing(fid: RemoteFid, *args: Any, **more: Any) -> Any:
            call = asyncio.create_task(real(fid, *args, **more))
            if self.lost_count < count:
                self.lost_count += 1
                await asyncio.sleep(0)
                fid.session.abandon("a test")
            return await call

        monkeypatch.setattr(RemoteFid, method, losing)


@pytest.mark.parametrize("method", ["open_file", "read_entries"])
async def test_a_directory_is_read_again(sc: AsyncFsLib, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    await sc.mkdir("name/d")
    await sc.put_file("name/d/f", b"")
    losing = Losing(monkeypatch, method)
    assert [stat.name for stat in await sc.get_dir("name/d")] == ["f"]
    assert losing.lost_count == 1


@pytest.mark.parametrize("method", ["open_file", "watch", "read"])
async def test_a_wait_goes_on(sc: AsyncFsLib, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    await sc.mkdir("name/d")
    losing = Losing(monkeypatch, method)
    waiting = asyncio.create_task(sc.wait_create("name/d/f", 20))
    while not losing.lost_count:  # noqa: ASYNC110  # the call tells nobody
        await asyncio.sleep(0.001)
    await sc.put_file("name/d/f", b"")
    await waiting


async def test_a_server_that_is_lost_again_and_again_is_told(sc: AsyncFsLib, monkeypatch: pytest.MonkeyPatch) -> None:
    await sc.mkdir("name/d")
    Losing(monkeypatch, "open_file", 1000)
    with pytest.raises(serr.SESSION_ERRORS):
        await sc.get_dir("name/d")
