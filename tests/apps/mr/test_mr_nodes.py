"""Jobs over several kernel nodes; and what becomes of them when nodes are lost, with the files they hold (MR-13)."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest
from mrlab import Gate, Texts, counts, gated, put_texts, until_progress

from sigmaos_ray.testing import Tstate
from user.mr import MapReduce, run

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.soak
"""Each node takes some seconds to come."""


@pytest.fixture(scope="module")
def ts() -> Iterator[Tstate]:
    """An instance of its own: nodes die here."""
    with Tstate.all(num_cpus=1) as tstate:
        yield tstate


@pytest.fixture(scope="module")
def texts(ts: Tstate) -> Texts:
    return put_texts(ts, "mr-nodes")


def nodes_of(ts: Tstate, job: str) -> set[str]:
    """Where the tasks ran that made the output."""
    return {json.loads(line)["KernelID"] for line in ts.sc.get_file(f"name/mr/{job}/stats.txt").splitlines()}


@pytest.mark.parametrize("nodes_count", [2, 3])
def test_tasks_run_on_all_nodes(ts: Tstate, texts: Texts, nodes_count: int) -> None:
    ts.boot_node(1, num_cpus=1)
    assert len(ts.instance.kernel_nodes) == nodes_count
    for _ in range(2):  # the first one warms the nodes' workers
        result = run(ts.sc, texts.job(binsz=20_000, nreduce=3))
        assert counts(ts.sc, result) == texts.words()
    assert len(nodes_of(ts, result.job)) > 1


def test_nodes_that_are_lost(ts: Tstate, texts: Texts, gate: Gate) -> None:
    first = ts.instance.kernel_nodes[0].id
    job = texts.job(binsz=20_000, coordinators=3)
    with MapReduce(ts.sc, job, gated(gate, lambda name: "/given/runes" in name)) as running:
        until_progress(running, lambda progress: progress.map.done == progress.map.total - 1 > 0)
        for node in ts.instance.kernel_nodes:
            if node.id != first:
                ts.kill_node(node.id)
        gate.open()
        result = running.wait()
    assert counts(ts.sc, result) == texts.words()
    assert nodes_of(ts, result.job) == {first}
    assert result.counters.nrecover_map > 0


def test_a_ux_that_ends_keeps_its_files(ts: Tstate, texts: Texts, gate: Gate) -> None:
    first = ts.instance.kernel_nodes[0]
    with MapReduce(ts.sc, texts.job(), gated(gate, lambda name: "/given/runes" in name)) as running:
        until_progress(running, lambda progress: progress.map.done == progress.map.total - 1 > 0)
        ux = first.services["ux"]
        os.kill(ux.pid, signal.SIGKILL)
        gate.open()
        assert counts(ts.sc, running.wait()) == texts.words()
