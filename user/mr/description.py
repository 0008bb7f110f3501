"""A job as its mappers, reducers and coordinators read it: ``name/mr/<job>/job``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from sigmaos_ray import decoding, serr
from user.mr.app import AnyShipped
from user.mr.job import Job

if TYPE_CHECKING:
    from sigmaos_ray.fslib import AsyncFsLib
    from user.mr.paths import MrPaths


class Description(msgspec.Struct, frozen=True):
    """What was asked for, and how its app travels."""

    job: Job
    app: AnyShipped
    input_bytes: int = 0
    maps_count: int = 0


_decode: Final = decoding.json_decoder(Description)


async def read_description(sc: AsyncFsLib, paths: MrPaths) -> Description:
    """NotFound if there is no such job; Inval for a file that describes none."""
    try:
        return _decode(await sc.get_file(paths.description))
    except msgspec.DecodeError as error:
        raise serr.Inval(paths.description, f"not a job: {error}") from error
