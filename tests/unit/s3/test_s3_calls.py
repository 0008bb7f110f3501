"""How often S3 is asked again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.parsers import ResponseParserError

from kernel.s3 import calls
from kernel.s3.errors import About
from sigmaos_ray import serr
from sigmaos_ray.config import Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator


class Clients:
    """Stands for S3's clients: what is asked fails before it is sent."""

    def use(self, _secret: object) -> Clients:
        return self

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    def pauses() -> Iterator[float]:
        while True:
            yield 0.0

    monkeypatch.setattr(calls, "pauses", pauses)


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (ResponseParserError("not well-formed"), calls.GARBLED_TRIES_MAX),
        (EndpointConnectionError(endpoint_url="http://s3"), calls.AWAY_TRIES_MAX),
    ],
)
async def test_what_never_gets_better_is_told_soon(error: Exception, tries: int) -> None:
    asked = 0

    def ask(_client: object) -> None:
        nonlocal asked
        asked += 1
        raise error

    s3_calls = calls.Calls(Clients(), Proxy(s3_threads=2))  # type: ignore[arg-type]
    try:
        with pytest.raises(serr.Error, match=f"tried {tries} times"):
            await s3_calls.run("who", None, ask, About("f"), timeout_s=60)
    finally:
        s3_calls.close()
    assert asked == tries
