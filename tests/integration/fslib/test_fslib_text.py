"""Text that is no UTF-8 is refused by every call, at the client, with an error that shows it."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from sigmaos_ray import serr
from sigmaos_ray.fslib import AsyncFsLib
from sigmaos_ray.sigmap import OWRITE, Endpoint, Fence

if TYPE_CHECKING:
    from collections.abc import Iterator

BAD: Final = "name/bad\udcff"
GOOD: Final = "name/good"
_FITTING: Final[dict[str, Any]] = {
    "str": GOOD, "bytes": b"", "Data": b"", "int": 0, "Perm": 0o777, "Mode": OWRITE, "Any": None, "object": 1,
    "Endpoint": Endpoint(addrs=("127.0.0.1:1",)), "Fence": Fence("name/f", 1, 1), "Callable": bool, "Sequence": [],
    "Iterable": [],
}  # fmt: skip
"""A value for each kind of argument, by the first word of its annotation."""
_LOCAL: Final = {"upload_file": __file__, "upload_dir": str(Path(__file__).parent)}
_OF_DIRECTORIES: Final = {"copy_dir", "move_dir_entries"}


def _calls() -> Iterator[Any]:
    """Every call of a client with each of its texts."""
    for name, call in inspect.getmembers(AsyncFsLib, inspect.isfunction):
        texts = [each.name for each in inspect.signature(call).parameters.values() if str(each.annotation) == "str"]
        for text in texts:
            if not name.startswith("_"):
                yield pytest.param(name, text, id=f"{name}-{text}")


async def outcome(made: Any) -> None:
    """Awaits what a call returned, whatever it is."""
    if inspect.isawaitable(made):
        await made
    elif hasattr(made, "__aenter__"):
        async with made:
            pass
    else:
        async for _ in made:
            pass


def arguments(call: Any, bad: str) -> dict[str, Any]:
    given = {}
    for name, parameter in inspect.signature(call).parameters.items():
        if name == "local":
            given[name] = _LOCAL[call.__name__]
        elif parameter.default is inspect.Parameter.empty:
            given[name] = _FITTING[re.match(r"\w+", str(parameter.annotation))[0]]  # type: ignore[index]
    return given | {bad: BAD}


@pytest.mark.parametrize(("name", "text"), list(_calls()))
async def test_every_call_refuses_it(sc: AsyncFsLib, name: str, text: str) -> None:
    if name in _OF_DIRECTORIES:
        await sc.mkdir(GOOD)
        await sc.put_file(f"{GOOD}/f", b"")
    else:
        await sc.put_file(GOOD, b"")
    call = getattr(sc, name)
    with pytest.raises(serr.SigmaError) as raised:
        await outcome(call(**arguments(call, text)))
    assert isinstance(raised.value, serr.Inval), raised.value
    assert "bad\\udcff" in str(raised.value)
