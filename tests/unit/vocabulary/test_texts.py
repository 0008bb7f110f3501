"""Text that is no UTF-8, at the ways in that need no server: variables, endpoints, keys, values, errors."""

from __future__ import annotations

import os
import pickle
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigmaos_ray import dbclnt, decoding, instance, serr
from sigmaos_ray.fslib.pathnames import checked_endpoint, parse
from sigmaos_ray.realmclnt import check_name
from sigmaos_ray.sessp import wire
from sigmaos_ray.sigmap import Endpoint, Fence
from sigmaos_ray.sigmap.text import escaped, is_utf8
from user.cache import config as cache_config
from user.cache.face import check_key
from user.kv import kv_pb2
from user.kv.clnt import write_of
from user.kv.keys import shard_of

if TYPE_CHECKING:
    from collections.abc import Callable

BAD = os.fsdecode(b"bad\xff")
any_text = st.text(st.characters(exclude_categories=()))


@given(any_text)
def test_escaped_text_is_utf8_and_utf8_stays(text: str) -> None:
    assert is_utf8(escaped(text))
    assert (escaped(text) == text) == is_utf8(text)


@given(any_text, any_text)
def test_errors_can_be_told_and_sent(obj: str, msg: str) -> None:
    error = serr.Inval(obj, msg)
    assert is_utf8(str(error))
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert wire.error_from_pb(wire.error_to_pb(error)).obj == error.obj


@given(any_text)
def test_pathnames_are_parsed_or_refused(pn: str) -> None:
    try:
        parts, _ = parse(pn)
    except serr.Inval:
        return
    assert is_utf8(pn)
    assert all(map(is_utf8, parts))


@pytest.mark.parametrize(
    "call",
    [
        lambda: parse(f"name/{BAD}"),
        lambda: checked_endpoint(Endpoint(addrs=(f"{BAD}:1",))),
        lambda: checked_endpoint(Endpoint(root=BAD)),
        lambda: checked_endpoint(Endpoint(plain=(("a:1", BAD),))),
        lambda: wire.fence_to_pb(Fence(BAD, 1, 1)),
        lambda: dbclnt.value_to_pb(BAD),
        lambda: check_name(BAD),
        lambda: shard_of(BAD),
        lambda: write_of(kv_pb2.PUT, BAD, b""),
        lambda: cache_config.shard_of(BAD),
        lambda: check_key(BAD),
    ],
)
def test_requests_refuse_it(call: Callable[[], Any]) -> None:
    with pytest.raises(serr.Inval, match=r"bad\\udcff"):
        call()


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("SIGMAOS_STATE_DIR", instance.state_dir),
        ("SIGMAOS_NAMED", instance.named_addresses),
        ("SIGMACONFIG", instance.find_proc_env),
        ("SIGMAOS_S3_PROFILE", instance.s3_secrets),
    ],
)
def test_variables_are_refused_by_their_names(
    name: str, read: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, BAD)
    with pytest.raises(serr.Inval, match=name):
        read()


def test_a_secret_that_is_refused_is_not_shown() -> None:
    with pytest.raises(serr.Inval, match=instance.S3_SECRET) as raised:
        instance.s3_secrets({instance.S3_KEY: "key", instance.S3_SECRET: BAD})
    assert "bad" not in str(raised.value)


@pytest.mark.parametrize("data", [b'"\xff"', '"\udcff"', b'"\\udcff"'])
def test_what_is_read_and_is_none_is_told_as_what_cannot_be_decoded(data: bytes | str) -> None:
    with pytest.raises(msgspec.DecodeError):
        decoding.json_decoder(str)(data)
