"""Pairs on their way from mappers to reducers: which reducer gets a key (MR-5), and how pairs look in a file. Pure.

An intermediate file is one msgpack map from keys to values. Text stays text, and bytes stay bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from sigmaos_ray import decoding, serr
from sigmaos_ray.ft.sharding import fnv1a

if TYPE_CHECKING:
    from collections.abc import Mapping

Key: TypeAlias = str | bytes

_encoder: Final = msgspec.msgpack.Encoder()
_decode: Final = decoding.msgpack_decoder(dict)


def reducer_of(key: Key, reducers_count: int) -> int:
    """The number of the reducer that gets the key."""
    # Not Python's ``hash``, which differs between processes: all mappers must agree. Without the sign bit, as SigmaOS
    # has it.
    return (fnv1a(key.encode() if isinstance(key, str) else key) & 0x7FFFFFFF) % reducers_count


def partition(pairs: Mapping[Key, Any], reducers_count: int) -> list[dict[Key, Any]]:
    """The pairs of each reducer."""
    # Nothing has to be hashed, which takes longer than all else here.
    if reducers_count == 1:
        return [dict(pairs)]
    parts: list[dict[Key, Any]] = [{} for _ in range(reducers_count)]
    for key, value in pairs.items():
        parts[reducer_of(key, reducers_count)][key] = value
    return parts


def encode(pairs: Mapping[Key, Any]) -> bytes:
    """Inval, naming what is wrong, for pairs that cannot be written."""
    try:
        return _encoder.encode(pairs)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise serr.Inval("map", f"a pair that cannot be written: {error}") from error


def decode(data: bytes, pathname: str) -> dict[Key, Any]:
    """Inval for what is no intermediate file."""
    try:
        return _decode(data)
    except msgspec.DecodeError as error:
        raise serr.Inval(pathname, f"not an intermediate file: {error}") from error
