"""JSON values as bytes, with errors that name the file."""

from __future__ import annotations

from typing import Any

import msgspec

from sigmaos_ray import serr


def from_json(pn: str, data: bytes) -> Any:
    """Inval if the data is not one JSON value."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise serr.Inval(pn, f"not JSON: {error}") from error


def to_json(pn: str, value: Any) -> bytes:
    """Inval for a value that has no JSON."""
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError) as error:
        raise serr.Inval(pn, f"no JSON for it: {error}") from error
