"""``within``: a block's time-out as ``serr.Timeout``, and nothing else."""

from __future__ import annotations

import asyncio

import pytest

from sigmaos_ray import serr
from sigmaos_ray.deadlines import within


async def test_a_block_that_takes_too_long() -> None:
    with pytest.raises(serr.Timeout) as caught:
        async with within(0.01, "name/f", "no reply"):
            await asyncio.Event().wait()
    assert caught.value.obj == "name/f"
    assert caught.value.msg == "no reply in 0.01 s"


async def test_a_block_in_time() -> None:
    async with within(60.0, "name/f"):
        await asyncio.sleep(0)
    async with within(None, "name/f"):
        await asyncio.sleep(0)


@pytest.mark.parametrize("error", [serr.Timeout("other", "its own"), TimeoutError("a socket's"), serr.NotFound("x")])
async def test_errors_of_the_block_pass_as_they_are(error: Exception) -> None:
    """A time-out of something else does not say that this one is over."""
    with pytest.raises(type(error)) as caught:
        async with within(60.0, "name/f"):
            raise error
    assert caught.value is error


async def test_a_cancellation_is_no_time_out() -> None:
    async def wait() -> None:
        async with within(60.0, "name/f"):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


async def test_the_outer_one_is_told_by_its_own_name() -> None:
    with pytest.raises(serr.Timeout) as caught:
        async with within(0.01, "outer"), within(60.0, "inner"):
            await asyncio.Event().wait()
    assert caught.value.obj == "outer"
