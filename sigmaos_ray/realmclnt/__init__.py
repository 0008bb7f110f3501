"""Realms: ``AsyncRealmClnt`` for coroutines, ``RealmClnt`` for threads."""

from sigmaos_ray.realmclnt.asynchronous import (
    LEAVING,
    ROTATING,
    WITH_STATE,
    AsyncRealmClnt,
    RealmRecord,
    check_name,
    is_name,
)
from sigmaos_ray.realmclnt.blocking import RealmClnt

__all__ = [
    "LEAVING",
    "ROTATING",
    "WITH_STATE",
    "AsyncRealmClnt",
    "RealmClnt",
    "RealmRecord",
    "check_name",
    "is_name",
]
