"""The control file of a store's balancer (KV-4)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import serr
from user.kv.job import KvJob
from user.kv.paths import KvPaths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sigmaos_ray.testing import Tstate


@pytest.fixture
def groups(tstate_all: Tstate, store: str) -> Iterator[Callable[[], list[str]]]:
    job = KvJob(tstate_all.sc, store)
    yield lambda: sorted(job.config().groups)
    job.close()


def test_groups_come_and_go_by_what_is_written(tstate_all: Tstate, store: str, groups: Callable[[], list[str]]) -> None:
    sc, control = tstate_all.sc, f"{KvPaths(store).balancer}/ctl"
    sc.put_file(control, b"del grp-9")  # nothing to do
    with ThreadPoolExecutor(1) as thread:
        adding = thread.submit(sc.put_file, control, b"add grp-1\n")
        while "grp-1" not in groups():
            assert not adding.done() or adding.result()
        with pytest.raises(serr.Retry, match="busy"):
            sc.put_file(control, b"del grp-1")
        adding.result()
    assert groups() == ["grp-0", "grp-1"]
    sc.put_file(control, b"add grp-1")  # it is there
    with sc.open_writer(control) as writer:
        writer.write(b"del grp-1")
    assert groups() == ["grp-0"]
    with pytest.raises(serr.Inval, match="last server"):
        sc.put_file(control, b"del grp-0")


@pytest.mark.parametrize("command", [b"", b"add", b"add grp-1 grp-2", b"drop grp-1", b"add store", b"add \xff"])
def test_what_is_no_command_is_refused(tstate_all: Tstate, store: str, command: bytes) -> None:
    with pytest.raises(serr.Inval):
        tstate_all.sc.put_file(f"{KvPaths(store).balancer}/ctl", command)


def test_it_cannot_be_read_or_removed(tstate_all: Tstate, store: str) -> None:
    sc, control = tstate_all.sc, f"{KvPaths(store).balancer}/ctl"
    with pytest.raises(serr.NotSupported, match="cannot be read"):
        sc.get_file(control)
    with pytest.raises(serr.NotSupported):
        sc.remove(control)
    assert "ctl" in [stat.name for stat in sc.get_dir(f"{KvPaths(store).balancer}/")]
