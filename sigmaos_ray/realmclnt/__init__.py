"""Realms: ``AsyncRealmClnt`` for coroutines, ``RealmClnt`` for threads."""

from sigmaos_ray.realmclnt.asynchronous import (
    AGREEING,
    LEAVING,
    ROTATING,
    WITH_STATE,
    AsyncRealmClnt,
    RealmRecord,
    check_name,
    is_name,
)
from sigmaos_ray.realmclnt.blocking import RealmClnt
from sigmaos_ray.realmclnt.terms import RealmTerms

__all__ = [
    "AGREEING",
    "LEAVING",
    "ROTATING",
    "WITH_STATE",
    "AsyncRealmClnt",
    "RealmClnt",
    "RealmRecord",
    "RealmTerms",
    "check_name",
    "is_name",
]
