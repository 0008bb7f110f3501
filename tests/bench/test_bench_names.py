"""Calls on names, beside the same of another checkout of this project, which SIGMAOS_BENCH_BEFORE names.

Claim: no call is slower than it was. Each side has a named on an etcd of its own, a ux and a client, in processes of
their own; rounds alternate.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from etcd_child import EtcdChild
from measure import Comparison, Series
from names_child import OPS

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE: Final = Path(__file__).parents[2]
BEFORE: Final = os.environ.get("SIGMAOS_BENCH_BEFORE", "")
CHILD: Final = str(Path(__file__).with_name("names_child.py"))
TIMES: Final = 300
ROUNDS: Final = 15


class Side:
    """The client of one checkout, and its servers. They end with ``stack``."""

    def __init__(self, stack: ExitStack, checkout: str, directory: Path) -> None:
        etcd = stack.enter_context(EtcdChild())
        directory.mkdir()
        servers = self._start(stack, "servers", checkout, etcd.endpoint, str(directory))
        self._client = self._start(stack, "client", checkout, *self._line_of(servers).split())
        assert self._line_of(self._client) == "ready"

    def _start(self, stack: ExitStack, *args: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, CHILD, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        stack.enter_context(process)  # closes its input, and waits
        return process

    def _line_of(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        return process.stdout.readline().strip()

    def seconds(self, op: str, times: int) -> float:
        """Of each, measured by the client itself."""
        assert self._client.stdin is not None
        print(op, times, file=self._client.stdin, flush=True)
        return float(self._line_of(self._client))


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Side]]:
    directory = tmp_path_factory.mktemp("names")
    with ExitStack() as stack:
        yield [
            Side(stack, checkout, directory / str(number))
            for number, checkout in enumerate([str(HERE), *([BEFORE] if BEFORE else [])])
        ]


@pytest.mark.parametrize("op", OPS)
def test_beside_another_checkout(sides: list[Side], op: str) -> None:
    rounds_s: list[list[float]] = [[] for _ in sides]
    for side in sides:
        side.seconds(op, TIMES)
    for _ in range(ROUNDS):
        for side, round_s in zip(sides, rounds_s, strict=True):
            round_s.append(side.seconds(op, TIMES))
    now, *before = (Series(name, each) for name, each in zip(("now", "before"), rounds_s, strict=False))
    missing = "SIGMAOS_BENCH_BEFORE names no other checkout"
    print(f"\n  {Comparison(op, now, before[0] if before else None, goal=1.0, missing=missing)}")
