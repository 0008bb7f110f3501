"""How often S3 is asked again."""

from __future__ import annotations

import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.parsers import ResponseParserError

from kernel.s3 import calls
from kernel.s3.errors import About
from sigmaos_ray import serr
from sigmaos_ray.config import Proxy

LIMITS = Proxy(s3_threads=2, s3_pause_s=0.0)


class Clients:
    """Stands for S3's clients: what is asked fails before it is sent."""

    def use(self, _secret: object) -> Clients:
        return self

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (ResponseParserError("not well-formed"), LIMITS.s3_garbled_tries_max),
        (EndpointConnectionError(endpoint_url="http://s3"), LIMITS.s3_away_tries_max),
    ],
)
async def test_what_never_gets_better_is_told_soon(error: Exception, tries: int) -> None:
    tries_made = 0

    def ask(_client: object) -> None:
        nonlocal tries_made
        tries_made += 1
        raise error

    s3_calls = calls.Calls(Clients(), LIMITS)  # type: ignore[arg-type]
    try:
        with pytest.raises(serr.Error, match=f"tried {tries} times"):
            await s3_calls.run("who", None, ask, About("f"), timeout_s=60)
    finally:
        s3_calls.close()
    assert tries_made == tries
