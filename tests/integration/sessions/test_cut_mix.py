"""Connections of a session are cut at random while threads and tasks use it: nothing is lost, nothing runs twice, and
what a caller is told of its call is true (S-3)."""

from __future__ import annotations

import os

import pytest
from cutworld import CutWorld

FEW = range(4)
MANY = range(int(os.environ.get("SIGMAOS_SOAK_SEEDS", "50")))
"""Of each mix and each fate: 200 runs by default."""

mixes = pytest.mark.parametrize("main", ["grpc", "plain"])
fates = pytest.mark.parametrize("fate", ["lasts", "dies", "stops"])


@mixes
@fates
def test_a_mix_that_is_cut(main: str, fate: str) -> None:
    for seed in FEW if fate == "lasts" else FEW[:2]:
        run(seed, main, fate)


@pytest.mark.soak
@mixes
@fates
@pytest.mark.parametrize("seed", MANY)
def test_a_mix_that_is_cut_for_long(main: str, fate: str, seed: int) -> None:
    run(1000 + seed, main, fate)


def run(seed: int, main: str, fate: str) -> None:
    CutWorld(seed, main, dies=fate == "dies", stops=fate == "stops").go()
