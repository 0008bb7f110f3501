"""The first proc of a new realm, from spawn to wait_exit, and the making of the realm before it.

Claim: the first proc takes at most 1.2 s. There is no peer: the later procs of the same realm stand beside it.
"""

from __future__ import annotations

import time
from statistics import median

from measure import Comparison, Series

from sigmaos_ray import Proc, SigmaClnt
from sigmaos_ray.realmclnt import RealmClnt
from sigmaos_ray.testing import Tstate

ROUNDS = 3


def one_proc(sc: SigmaClnt) -> float:
    began = time.perf_counter()
    assert sc.wait_exit(sc.spawn(Proc("tests.bench.noop")), 60).is_ok()
    return time.perf_counter() - began


def test_first_proc_of_a_new_realm() -> None:
    made: list[float] = []
    first: list[float] = []
    later: list[float] = []
    with Tstate.all() as ts:
        realms = RealmClnt(ts.sc)
        for number in range(ROUNDS):
            began = time.perf_counter()
            realms.make(f"bench-{number}")
            made.append(time.perf_counter() - began)
            with ts.realm(f"bench-{number}") as sc:
                first.append(one_proc(sc))
                later.append(one_proc(sc))
            realms.remove(f"bench-{number}", remove_state=True)
    print(f"\n  {Comparison('first proc', Series('first', first), Series('later', later))}")
    print(f"  first proc {median(first):.2f} s (goal 1.2), realm made in {median(made):.2f} s")
    assert median(first) > 0
