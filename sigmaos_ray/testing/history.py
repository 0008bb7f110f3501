"""What clients asked for and were told, and when: the input of ``linearizability``.

Times come from one clock, ``time.monotonic``, which all processes of a machine share. Each client has a ``Recorder`` of
its own; the history is all their operations together, in any order.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from sigmaos_ray import decoding, serr

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Result: TypeAlias = str | bytes | tuple[str, ...]

OK: Final = "ok"
EXISTS: Final = "exists"
"""The answer was ``serr.Exists``."""
ABSENT: Final = "absent"
"""The answer was ``serr.NotFound``."""

_REFUSALS: Final[dict[type[serr.SigmaError], str]] = {serr.Exists: EXISTS, serr.NotFound: ABSENT}
_NEVER: Final = (serr.Unreachable, serr.Stale)
"""The server says, or the client knows, that nothing was done."""


class Operation(msgspec.Struct, frozen=True):
    """One call of one client on one object."""

    client: str
    key: str
    """The object: operations on different ones are looked at by themselves."""
    name: str
    """What was done, as the model calls it."""
    argument: Any
    """Names or bytes, as the model has it."""
    called_s: float
    returned_s: float = math.inf
    """Infinite for an unknown outcome."""
    result: Any = None
    """A ``Result``; None: unknown. It may take effect at any time after the call, or never."""

    @property
    def is_known(self) -> bool:
        return self.result is not None

    def __str__(self) -> str:
        argument = repr(self.argument) if self.argument else ""
        answer = "?" if self.result is None else repr(self.result) if isinstance(self.result, bytes) else self.result
        return f"{self.client}: {self.name}({argument}) -> {answer}"


class Recorder:
    """One client's operations, in the order in which they ended. Not for several threads at a time."""

    def __init__(self, client: str) -> None:
        self.client = client
        self.operations: list[Operation] = []

    async def run(
        self, key: str, name: str, argument: str | bytes, call: Callable[[], Awaitable[object]]
    ) -> Result | None:
        """Calls, and records what came of it; returns the result, None if there is none or it is unknown. A call that
        returns neither bytes nor names counts as ``OK``. What is known never to have run is not recorded; every other
        error leaves the outcome unknown, and is not raised."""
        result: Result | None
        called_s = time.monotonic()
        try:
            result = _result(await call())
        except serr.SigmaError as error:
            if isinstance(error, (*_NEVER, serr.NotLeading)):
                return None
            result = _REFUSALS.get(type(error))
        except BaseException:
            # Cancelled, say: it may have run all the same, and a history without it could not be explained.
            self._record(Operation(self.client, key, name, argument, called_s))
            raise
        returned_s = time.monotonic() if result is not None else math.inf
        self._record(Operation(self.client, key, name, argument, called_s, returned_s, result))
        return result

    def _record(self, operation: Operation) -> None:
        self.operations.append(operation)


def _result(returned: object) -> Result:
    if isinstance(returned, bytes):
        return returned
    return tuple(str(name) for name in returned) if isinstance(returned, list | tuple) else OK


def encode(operations: list[Operation]) -> bytes:
    """A history as bytes, to be kept, or sent from another process."""
    return msgspec.msgpack.encode(operations)


def decode(data: bytes) -> list[Operation]:
    """What ``encode`` made. Raises msgspec.DecodeError if the data is no history."""
    operations = decoding.msgpack_decoder(list[Operation])(data)
    return [
        msgspec.structs.replace(each, result=tuple(each.result)) if isinstance(each.result, list) else each
        for each in operations
    ]
