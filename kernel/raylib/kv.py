"""Ray's internal key-value store: small facts for processes on nodes that share no disk with who knows them.

It lives in Ray's control store, and is as lasting as that. Every call blocks for a message to it; Ray's errors
propagate. Ray is imported at the first call: the boot daemon imports these modules before it chose a Ray.
"""

from __future__ import annotations


def put(key: str, value: bytes) -> None:
    """In place of an earlier value."""
    from ray.experimental import internal_kv

    internal_kv._internal_kv_put(key, value, overwrite=True)


def get(key: str) -> bytes | None:
    """None if nobody put it, or if this process is not connected to a Ray."""
    import ray
    from ray.experimental import internal_kv

    if not ray.is_initialized():
        return None
    value: bytes | None = internal_kv._internal_kv_get(key)
    return value


def delete(key: str) -> None:
    """Nothing happens if there is no such key."""
    from ray.experimental import internal_kv

    internal_kv._internal_kv_del(key)
