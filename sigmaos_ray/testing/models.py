"""What ``linearizability`` holds histories against: a file, and the entries of a directory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from sigmaos_ray.testing.history import ABSENT, EXISTS, OK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sigmaos_ray.testing.history import Operation, Result


UNSEEN: Final = ("contents that nobody read",)
"""Stands for all contents that are in no answer: they cannot be told apart."""

Contents = bytes | tuple[str, ...] | None


class FileModel:
    """A pathname: absent, or a file's contents. ``create`` (must not exist), ``put`` (whole), ``append`` (both make
    it), ``get``, ``remove``."""

    initial: Final = None
    looks: Final = frozenset({"get"})

    def simplified(self, operations: Sequence[Operation]) -> Sequence[Operation]:
        """What is in no answer to a ``get`` might be anything: whatever holds it is the same unread file."""
        answers = [each.result for each in operations if each.name == "get" and isinstance(each.result, bytes)]
        read_contents = b"\0".join(answers)
        return [
            each
            if each.name in ("get", "remove") or _bytes(each) in read_contents
            else msgspec.structs.replace(each, argument=UNSEEN)
            for each in operations
        ]

    def apply(self, state: Contents, operation: Operation) -> tuple[Contents, Result]:
        data = operation.argument if operation.argument is UNSEEN else _bytes(operation)
        match operation.name:
            case "create":
                return (data, OK) if state is None else (state, EXISTS)
            case "put":
                return data, OK
            case "append":
                if isinstance(data, tuple) or isinstance(state, tuple):
                    return UNSEEN, OK
                return (state or b"") + data, OK
            case "get":
                return state, ABSENT if state is None else state
            case "remove":
                return None, ABSENT if state is None else OK
        raise ValueError(f"a file has no operation {operation.name!r}")


def _bytes(operation: Operation) -> bytes:
    argument = operation.argument
    return argument if isinstance(argument, bytes) else argument.encode()


class DirModel:
    """The names in one directory, all of files. ``create`` and ``remove`` a name, ``rename`` ``old/new`` (replaces),
    ``list`` (sorted), ``has`` a name."""

    initial: frozenset[str] = frozenset()
    looks: Final = frozenset({"list", "has"})

    def simplified(self, operations: Sequence[Operation]) -> Sequence[Operation]:
        return operations

    def apply(self, state: frozenset[str], operation: Operation) -> tuple[frozenset[str], Result]:
        argument = operation.argument
        name = argument if isinstance(argument, str) else argument.decode()
        match operation.name:
            case "create":
                return (state, EXISTS) if name in state else (state | {name}, OK)
            case "remove":
                return (state - {name}, OK) if name in state else (state, ABSENT)
            case "has":
                return state, OK if name in state else ABSENT
            case "rename":
                old, _, new = name.partition("/")
                return (state - {old} | {new}, OK) if old in state else (state, ABSENT)
            case "list":
                return state, tuple(sorted(state))
        raise ValueError(f"a directory has no operation {operation.name!r}")
