"""Text that is no UTF-8: what Python reads of a file name, an argument or a variable with other bytes in it holds lone
surrogates, which is text to Python and to no message, file or terminal. Requests refuse such text, words about what
happened show it escaped (E-8)."""

from __future__ import annotations


def is_utf8(text: str) -> bool:
    """Whether messages can carry it."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def escaped(text: str) -> str:
    """The text with what is no UTF-8 as backslash and number."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
