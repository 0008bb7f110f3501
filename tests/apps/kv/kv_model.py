"""What ``linearizability`` holds the histories of clerks against: one key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from sigmaos_ray.testing.history import ABSENT, OK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sigmaos_ray.testing.history import Operation, Result

REFUSED: Final = ("refused",)
SET: Final = ("set",)


class KeyModel:
    """A key: absent, or a value. ``put``, ``append``, ``delete``, ``get``; ``cas`` of ``cas_argument``."""

    initial: Final = None
    looks: Final = frozenset({"get"})

    def simplified(self, operations: Sequence[Operation]) -> Sequence[Operation]:
        return operations

    def apply(self, state: bytes | None, operation: Operation) -> tuple[bytes | None, Result]:
        argument: bytes = operation.argument
        match operation.name:
            case "put":
                return argument, OK
            case "append":
                return (state or b"") + argument, OK
            case "delete":
                return None, ABSENT if state is None else OK
            case "get":
                return state, ABSENT if state is None else state
            case "cas":
                expected, value = msgspec.msgpack.decode(argument, type=tuple[bytes | None, bytes])
                return (value, SET) if state == expected else (state, REFUSED)
        raise ValueError(f"a key has no operation {operation.name!r}")


def cas_argument(expected: bytes | None, value: bytes) -> bytes:
    return msgspec.msgpack.encode((expected, value))
