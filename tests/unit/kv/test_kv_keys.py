"""What a key is, and what cannot be one."""

from __future__ import annotations

from typing import Any

import pytest

from sigmaos_ray import serr
from user.kv.keys import KEY_BYTES_MAX, shard_of, text_of


@pytest.mark.parametrize("key", ["k", "né", "a/b\n\0", "k" * KEY_BYTES_MAX])
def test_text_and_its_bytes_are_one_key(key: str) -> None:
    assert text_of(key) == text_of(key.encode()) == key
    assert shard_of(text_of(key.encode())) == shard_of(key)


@pytest.mark.parametrize("key", ["", b"", b"\xff", "\ud800", 7, None, ["k"], bytearray(b"k"), "é" * KEY_BYTES_MAX])
def test_what_cannot_be_a_key(key: Any) -> None:
    with pytest.raises(serr.Inval, match="key"):
        text_of(key)
