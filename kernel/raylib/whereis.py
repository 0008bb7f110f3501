"""Where kernel parts are, for processes on nodes that cannot read the state file: in Ray's key-value store boot says
where a realm's named answers, and each schedd which kernel node serves its Ray node, and how it is called itself."""

from __future__ import annotations

from functools import partial
from typing import Final

import msgspec

from kernel.raylib import kv
from sigmaos_ray import debug, decoding
from sigmaos_ray.fslib import locate
from sigmaos_ray.sigmap import Endpoint

_log = debug.selector("MOUNT")

_NAMED_KEY: Final = "sigmaos-named-of-"
_KERNEL_KEY: Final = "sigmaos-kernel-of-"
_SCHEDD_KEY: Final = "sigmaos-schedd-of-"


# -- named


def publish(realm: str, named: Endpoint) -> None:
    """Blocks for a message to Ray's control store, as all of these do. Ray's errors propagate."""
    kv.put(_NAMED_KEY + realm, named.to_bytes())


def withdraw(realm: str) -> None:
    kv.delete(_NAMED_KEY + realm)


def ask(realm: str) -> Endpoint | None:
    """None if nobody published it, or Ray cannot be asked from here."""
    import ray

    try:
        named = kv.get(_NAMED_KEY + realm)
    except ray.exceptions.RayError as error:
        _log(f"Ray does not tell where named is: {error}")
        return None
    return Endpoint.from_bytes(named) if named else None


def install(realm: str) -> None:
    """From now on clients of this process ask Ray where no state file tells them (``fslib.locate``'s hook)."""
    locate.install_hook(partial(ask, realm))


# -- kernel nodes


class KernelPlace(msgspec.Struct, frozen=True):
    """A kernel node, to who runs on its Ray node."""

    kernel_id: str
    host: str
    """Where servers on this node listen."""


_decode_place: Final = decoding.json_decoder(KernelPlace)


def publish_kernel(ray_node_id: str, place: KernelPlace) -> None:
    """Says which kernel node serves a Ray node, to workers that another node's schedd places there."""
    kv.put(_KERNEL_KEY + ray_node_id, msgspec.json.encode(place))


def withdraw_kernel(ray_node_id: str) -> None:
    kv.delete(_KERNEL_KEY + ray_node_id)


def kernel_of(ray_node_id: str) -> KernelPlace | None:
    """None if that Ray node has no kernel node (yet)."""
    published = kv.get(_KERNEL_KEY + ray_node_id)
    return _decode_place(published) if published else None


# -- schedds


def publish_schedd(realm: str, kernel_id: str, handle: bytes) -> None:
    """``handle``: the actor's, as Ray pickles it: the realm's other schedds and workers on its node call it."""
    kv.put(_schedd_key(realm, kernel_id), handle)


def withdraw_schedd(realm: str, kernel_id: str) -> None:
    kv.delete(_schedd_key(realm, kernel_id))


def schedd_of(realm: str, kernel_id: str) -> bytes | None:
    """None if there is none (yet). One that died is still told, until another one takes its place."""
    return kv.get(_schedd_key(realm, kernel_id))


def _schedd_key(realm: str, kernel_id: str) -> str:
    return f"{_SCHEDD_KEY}{realm}/{kernel_id}"
