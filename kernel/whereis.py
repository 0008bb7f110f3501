"""Where a realm's named answers, for processes on nodes that cannot read the state file: boot tells Ray's key-value
store, and they ask it through ``fslib.locate``'s hook."""

from __future__ import annotations

from functools import partial
from typing import Final

from sigmaos_ray import debug
from sigmaos_ray.fslib import locate
from sigmaos_ray.sigmap import Endpoint

_log = debug.selector("MOUNT")

_KEY: Final = "sigmaos-named-of-"


def publish(realm: str, named: Endpoint) -> None:
    """Blocks for a message to Ray's control store. Ray's errors propagate."""
    from ray.experimental import internal_kv

    internal_kv._internal_kv_put(_KEY + realm, named.to_bytes(), overwrite=True)


def withdraw(realm: str) -> None:
    from ray.experimental import internal_kv

    internal_kv._internal_kv_del(_KEY + realm)


def ask(realm: str) -> Endpoint | None:
    """None if nobody told, or Ray cannot be asked from here."""
    import ray
    from ray.experimental import internal_kv

    if not ray.is_initialized():
        return None
    try:
        found = internal_kv._internal_kv_get(_KEY + realm)
    except ray.exceptions.RayError as error:
        _log(f"Ray does not tell where named is: {error}")
        return None
    return Endpoint.from_bytes(found) if found else None


def install(realm: str) -> None:
    """From now on this process asks Ray where no state file tells it."""
    locate.install_hook(partial(ask, realm))
