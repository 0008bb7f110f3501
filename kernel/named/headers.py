"""What a gRPC call says in HTTP/2's headers: as a client writes them, and what it reads of a server's (RFC 7541). Pure.

For a connection whose client allows no table of headers (``SETTINGS_HEADER_TABLE_SIZE`` of 0): each header then stands
in its block whole, and no block depends on another one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterator

_METHOD_POST: Final = 0x83
_SCHEME_HTTP: Final = 0x86
_AUTHORITY: Final = 1
_PATH: Final = 4
_STATUS: Final = {8: "200", 9: "204", 10: "206", 11: "304", 12: "400", 13: "404", 14: "500"}
"""What ``:status`` is, by its places in the table that every connection has."""
_STATIC_MAX: Final = 61

_UNKNOWN: Final = 2
"""gRPC's code of an end that says none."""


class BadHeaders(Exception):
    """A block of headers that is none, or refers to a table."""


class CallStatus(NamedTuple):
    """How a call ended, as gRPC says it."""

    code: int
    details: str


def request_headers(authority: str, path: str, timeout_s: float) -> bytes:
    """The block that begins a unary call."""
    return b"".join(
        (
            bytes((_METHOD_POST, _SCHEME_HTTP)),
            _literal(_PATH, path),
            _literal(_AUTHORITY, authority),
            _named_literal("te", "trailers"),
            _named_literal("content-type", "application/grpc"),
            _named_literal("grpc-timeout", f"{max(round(timeout_s * 1e3), 1)}m"),
        )
    )


def _literal(name_index: int, value: str) -> bytes:
    return bytes((name_index,)) + _plain(value)


def _named_literal(name: str, value: str) -> bytes:
    return b"\0" + _plain(name) + _plain(value)


def _plain(text: str) -> bytes:
    data = text.encode()
    return _integer(len(data), 0x7F) + data


def _integer(value: int, prefix_max: int) -> bytes:
    if value < prefix_max:
        return bytes((value,))
    encoded = bytearray((prefix_max,))
    value -= prefix_max
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def status_of(block: bytes) -> CallStatus:
    """How the call ended whose last headers these are. BadHeaders for what are none."""
    try:
        fields = dict(_fields(block))
    except IndexError as error:
        raise BadHeaders("they end within a header") from error
    http_status, code = fields.get(":status", "200"), fields.get("grpc-status", "")
    if code.isdecimal():
        return CallStatus(int(code), unquote(fields.get("grpc-message", "")))
    return CallStatus(_UNKNOWN, f"no gRPC status, HTTP status {http_status}")


def _fields(block: bytes) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(block):
        first = block[at]
        if first & 0x80:
            index, at = _read_integer(block, at, 0x7F)
            yield _static(index)
        elif first & 0xE0 == 0x20:  # the server says that it keeps no table
            _, at = _read_integer(block, at, 0x1F)
        else:
            index, at = _read_integer(block, at, 0x3F if first & 0x40 else 0x0F)
            if index:
                name = _static(index)[0]
            else:
                name, at = _read_text(block, at)
            value, at = _read_text(block, at)
            yield name, value


def _static(index: int) -> tuple[str, str]:
    """A header of the table that every connection has. Of the others, calls say nothing in it."""
    if not 0 < index <= _STATIC_MAX:
        raise BadHeaders(f"header {index} of a table that was not allowed")
    return (":status", _STATUS[index]) if index in _STATUS else ("", "")


def _read_integer(block: bytes, at: int, prefix_max: int) -> tuple[int, int]:
    value, at = block[at] & prefix_max, at + 1
    if value == prefix_max:
        shift = 0
        while True:
            byte, at = block[at], at + 1
            value += (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
    return value, at


def _read_text(block: bytes, at: int) -> tuple[str, int]:
    is_coded = block[at] & 0x80
    length, at = _read_integer(block, at, 0x7F)
    data = block[at : at + length]
    if len(data) < length:
        raise IndexError
    return _decoded(data) if is_coded else data.decode("latin-1"), at + length


def _code_table() -> dict[tuple[int, int], str]:
    """Characters by the length and the bits of their codes. The code is canonical: the characters of each length, in
    order, tell all of it. Those that are not printable are left out, since gRPC sends none."""
    by_length = {
        5: "012aceiost",
        6: " %-./3456789=A_bdfghlmnpru",
        7: ":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz",
        8: "&*,;XZ",
        10: '!"()?',
        11: "'+|",
        12: "#>",
        13: "\0$@[]~",
        14: "^}",
        15: "<`{",
        19: "\\",
    }
    table: dict[tuple[int, int], str] = {}
    code = last = 0
    for length, characters in by_length.items():
        code <<= length - last
        for character in characters:
            table[length, code] = character
            code += 1
        last = length
    return table


_CODES: Final = _code_table()
_CODE_BITS_MAX: Final = max(length for length, _ in _CODES)


def _decoded(data: bytes) -> str:
    text: list[str] = []
    length = code = 0
    for byte in data:
        for shift in range(7, -1, -1):
            code = code << 1 | byte >> shift & 1
            length += 1
            character = _CODES.get((length, code))
            if character is not None:
                text.append(character)
                length = code = 0
            elif length > _CODE_BITS_MAX:
                raise BadHeaders("a character that gRPC does not send")
    # The last byte is filled with ones.
    if length > 7 or code != (1 << length) - 1:
        raise BadHeaders("it ends within a character")
    return "".join(text)
