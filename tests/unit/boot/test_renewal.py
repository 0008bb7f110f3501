"""boot renews the certificates of the hosts that are there, while they serve."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import msgspec
from tlsplaces import EXPIRED, LIMITS

from kernel.boot.census import Census
from kernel.boot.certificates import Certificates
from sigmaos_ray import config
from sigmaos_ray.tls.files import CERTIFICATE, KEY, tls_dir

if TYPE_CHECKING:
    from pathlib import Path

HOME = "home"


async def census_of(state_dir: Path, given: Certificates) -> Census:
    """One that has looked at its own host, and is to renew often."""
    here = config.current()
    often = msgspec.structs.replace(here, certificates=msgspec.structs.replace(LIMITS, renew_poll_s=0.01))
    census = Census(state_dir, HOME, "10.0.0.1", often, given)
    [place] = await census.look({HOME: "10.0.0.1"}, wait_s=30)
    assert not place.unfit
    return census


def shown(certificate: Path) -> bytes:
    return certificate.read_bytes()


async def renewing(census: Census, until_s: float, certificate: Path, before: bytes) -> bool:
    """Whether there is another certificate within that time."""
    task = asyncio.create_task(census.keep_certified())
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(until_s):
                while shown(certificate) == before:  # noqa: ASYNC110  # a file tells nobody
                    await asyncio.sleep(0.01)
        assert not task.done()
        return shown(certificate) != before
    finally:
        task.cancel()
        await census.close()


async def test_one_that_is_about_to_end_is_renewed_for_the_same_key(tmp_path: Path) -> None:
    census = await census_of(tmp_path, Certificates(tmp_path, EXPIRED))
    place = tls_dir(tmp_path)
    before, key = (place / CERTIFICATE).read_bytes(), (place / KEY).read_bytes()
    assert await renewing(census, 30, place / CERTIFICATE, before)
    assert (place / KEY).read_bytes() == key


async def test_one_that_holds_is_left_alone(tmp_path: Path) -> None:
    census = await census_of(tmp_path, Certificates(tmp_path, LIMITS))
    certificate = tls_dir(tmp_path) / CERTIFICATE
    assert not await renewing(census, 0.3, certificate, certificate.read_bytes())


async def test_a_host_that_is_gone_asks_for_none(tmp_path: Path) -> None:
    given = Certificates(tmp_path, EXPIRED)
    census = await census_of(tmp_path, given)
    await census.look({})
    assert given.due() == []
    certificate = tls_dir(tmp_path) / CERTIFICATE
    assert not await renewing(census, 0.3, certificate, certificate.read_bytes())


async def test_without_tls_nothing_is_made(tmp_path: Path) -> None:
    census = Census(tmp_path, HOME, "127.0.0.1", config.current())
    await census.look({HOME: "127.0.0.1"}, wait_s=30)
    await census.keep_certified()
    assert not tls_dir(tmp_path).exists()
    await census.close()
