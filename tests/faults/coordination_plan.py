"""What goes wrong in a run, and when: from a seed alone."""

from __future__ import annotations

import random
from typing import Final

import msgspec

VICTIMS: Final = {
    "kill": ("leader", "follower", "client", "tasks", "etcd"),
    "stop": ("leader", "follower", "client", "tasks"),
    "cut": ("leader", "follower", "client"),
    "slow": ("etcd",),
    "full": ("etcd",),
    "jump": ("nameds", "clients"),
}
"""Each kind of fault, and whom it befalls."""
_WEIGHTS: Final = {"kill": 5, "stop": 4, "cut": 4, "slow": 2, "full": 1, "jump": 2}
_TOGETHER_MAX: Final = 3


class Fault(msgspec.Struct, frozen=True):
    """One fault. It lasts ``lasts_s``; the dead are replaced at once."""

    how: str
    whom: str
    lasts_s: float
    draw: int
    """Chooses among several victims, and how far a clock jumps."""

    def __str__(self) -> str:
        return f"{self.how} {self.whom} {self.lasts_s:.1f} s"


class Step(msgspec.Struct, frozen=True):
    """Faults that come together, after a while without any."""

    pause_s: float
    faults: tuple[Fault, ...]


def plan(seed: int, lease_s: float) -> list[Step]:
    """The steps of one run, few. Some faults last longer than a lease of ``lease_s``, some do not."""
    chance = random.Random(f"coordination {seed}")
    return [_step(chance, lease_s) for _ in range(chance.choice([1, 1, 2]))]


def _step(chance: random.Random, lease_s: float) -> Step:
    faults: dict[str, Fault] = {}
    for _ in range(chance.choice([1, 1, 2, _TOGETHER_MAX])):
        fault = _fault(chance, lease_s)
        faults.setdefault(fault.whom, fault)  # nobody suffers two at once
    return Step(round(chance.uniform(0.1, 0.5), 2), tuple(faults.values()))


def _fault(chance: random.Random, lease_s: float) -> Fault:
    how = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
    lasts_s = round(lease_s * chance.choice([0.1, 0.3, 0.9, 1.5]), 2)
    return Fault(how, chance.choice(VICTIMS[how]), lasts_s, chance.randrange(1 << 16))


def each_fault(lease_s: float) -> list[Step]:
    """Every kind of fault on everybody whom it can befall, one after the other."""
    return [
        Step(0.1, (Fault(how, whom, 0.3 * lease_s, draw),))
        for draw, (how, whom) in enumerate((how, whom) for how, victims in VICTIMS.items() for whom in victims)
    ]
