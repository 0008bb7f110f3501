"""The command line, and the programs that put a store to work (KV-9)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from command import Sigmaos

from sigmaos_ray import Proc
from sigmaos_ray.semclnt import Semaphore
from user.kv.paths import CLERK_PROGRAM, KvPaths

if TYPE_CHECKING:
    from collections.abc import Callable

    from sigmaos_ray.testing import Tstate


@pytest.fixture
def sigmaos(tstate_all: Tstate, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command; returns what it printed, or, if it failed, what it said."""
    command = Sigmaos(tstate_all.state_dir, capsys)

    def run(*arguments: str) -> str:
        done = command("kv", *arguments)
        if done.returncode:
            assert len(done.stderr.splitlines()) == 1, done.stderr
            return done.stderr
        return done.stdout

    return run


def test_the_command_line(sigmaos: Callable[..., str]) -> None:
    assert sigmaos("start", "-s", "cli") == "cli: grp-0\n"
    assert "there already" in sigmaos("start", "-s", "cli")
    assert sigmaos("put", "k", "v", "-s", "cli") == ""
    assert sigmaos("put", "k", "w", "--append", "-s", "cli") == ""
    assert sigmaos("add", "-s", "cli") == "grp-1\n"
    assert sigmaos("get", "k", "-s", "cli") == "vw"
    stats = json.loads(sigmaos("stats", "-s", "cli", "--json"))
    assert [len(group["shards"]) for group in stats["groups"]] == [50, 50]
    assert sum(group["keys"] for group in stats["groups"]) == 1
    assert sigmaos("rm", "grp-0", "-s", "cli") == ""
    assert sigmaos("get", "k", "-s", "cli") == "vw"
    assert "last server" in sigmaos("rm", "grp-1", "-s", "cli")
    assert "grp-7" in sigmaos("rm", "grp-7", "-s", "cli")
    assert "key nothing" in sigmaos("get", "nothing", "-s", "cli")
    assert sigmaos("stop", "-s", "cli") == ""
    assert "no such kv store" in sigmaos("get", "k", "-s", "cli")
    assert "no such kv store" in sigmaos("stop", "-s", "cli")


def test_clerks(tstate_all: Tstate, store: str) -> None:
    sc = tstate_all.sc
    semaphore = Semaphore(sc, KvPaths(store).clerk_sem)
    semaphore.init()
    checking = Proc(CLERK_PROGRAM, [store])
    bounded = Proc(CLERK_PROGRAM, [store, "0.5", "1000", KvPaths(store).clerk_sem])
    for proc in (checking, bounded):
        sc.spawn(proc)
        sc.wait_start(proc.pid)
    semaphore.up()
    status = sc.wait_exit(bounded.pid)
    assert status.is_ok(), status
    assert isinstance(status.data, float)
    assert status.data > 0
    sc.evict(checking.pid)
    status = sc.wait_exit(checking.pid)
    assert status.is_evicted(), status
    assert status.msg.startswith("ntest ")
