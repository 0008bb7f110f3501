"""Several hosts (network namespaces of this machine): how soon a lost one is noticed, how long others wait, how soon
all serve again, and what hosts cost.

Claims, in seconds: a host that falls silent has no names after 6, is not in the state file after 12, and who waits for
its procs is told within 20; writes to named stall for 6 at most when its leader's host goes, those to a kv group that
loses a copy as well; who is healed or added serves within 10; boot that was killed is ready 15 after `sigmaos start`;
a head that was switched off, with all its workers, 40 after `ray up`. Word count takes 1.3 times as long on three hosts
as on one with the same cores at most, an RPC between hosts 1.3 times as long as within one.

All hosts share this machine's cores, so that what a start costs is paid three times here. What Ray takes of it is told
beside: ``ray start`` on a host, and ``ray up`` of the same three hosts without anything of ours. Needs root.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
import yaml

sys.path.append(str(Path(__file__).parents[1] / "hosts"))

from cluster import Cluster, give_environment, shared_folders, until  # after the path

from sigmaos_ray.testing import corpus, hosts
from sigmaos_ray.testing.hosts import Hosts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

pytestmark = pytest.mark.skipif(hosts.why_not() is not None, reason=f"no hosts here: {hosts.why_not()}")

SILENCE_S: Final = 45.0
BOOKS: Final = 6
BOOK_BYTES: Final = 2 << 20
JOB: Final = """\
app: wc
nreduce: 2
binsz: 2MiB
local: books/
input: name/s3/~any/hosts/in
output: name/s3/~any/hosts/out
"""
ALL_JOINED: Final = """
import time, ray
ray.init(address="auto", log_to_driver=False, logging_level="error")
while sum(node["Alive"] for node in ray.nodes()) < 3:
    time.sleep(0.1)
"""
BUCKET: Final = """
from sigmaos_ray.instance import read_instance
from sigmaos_ray.testing.s3 import S3

with S3(read_instance()) as s3:
    s3.make_bucket("hosts")
"""


def tell(what: str, value: float, goal: float, unit: str = "s") -> None:
    print(f"\n  {what}: {value:.1f} {unit}, goal <= {goal:g} {unit} {'met' if value <= goal else 'NOT met'}")


def tell_peer(what: str, value: float) -> None:
    print(f"    of Ray alone, {what}: {value:.1f} s")


def _made(directory: Path, names: list[str], network: str) -> Hosts:
    return Hosts(names, directory=directory, network=network, shared=shared_folders())


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    names = ["head", "worker-1", "worker-2", "spare", "desk"]
    with _made(tmp_path_factory.mktemp("three"), names, "10.78.5") as made:
        for host in made:
            give_environment(host, with_project=True)
        cluster = Cluster(made)
        cluster.start_by_hand("--named-count 2")
        yield cluster


@pytest.fixture
def cluster(three: Cluster) -> Iterator[Cluster]:
    yield three
    three.mend()


def took(began_s: float) -> float:
    return time.monotonic() - began_s


def test_rpc_between_hosts(cluster: Cluster) -> None:
    here, there = cluster.node_of(cluster.head)["id"], cluster.node_of(cluster.workers[0])["id"]
    lines = cluster.program(cluster.head, "calls", here, there)
    within_s, between_s = (float(line.split()[1]) for line in lines)
    tell(
        f"RPC between hosts {between_s * 1e6:.0f} us, within one {within_s * 1e6:.0f} us",
        between_s / within_s,
        1.3,
        "x",
    )


def test_a_host_falls_silent_and_is_healed(cluster: Cluster) -> None:
    lost, watcher = cluster.workers[1], cluster.head
    lost_id = cluster.node_of(lost)["id"]
    ids = [node["id"] for node in cluster.nodes().values()]
    waiting = cluster.start_program(watcher, "waiting", "3", *ids)
    waiting.wait("all run")
    pids = [pid for _, _, pid, kernel_id, _ in waiting.told("running") if kernel_id == lost_id]
    gone = cluster.start_program(watcher, "gone", lost_id)
    gone.wait("waiting")
    began_s = time.monotonic()
    lost.cut()
    [[gone_s, *_]] = gone.wait("gone")
    gone.close()
    tell("names of a silent host gone after", gone_s - began_s, 6)
    until(lambda: lost.address not in cluster.nodes())
    tell("a silent host gone from the state file after", took(began_s), 12)
    told_s = max(waiting.wait("ended", pid)[0][0] for pid in pids)
    tell("waiters of its procs told after", told_s - began_s, 20)
    for _, _, pid, kernel_id, _ in waiting.told("running"):
        if kernel_id != lost_id:
            cluster.sigmaos(watcher, f"evict {pid}")
    waiting.close()
    time.sleep(max(0.0, SILENCE_S - took(began_s)))
    began_s = time.monotonic()
    lost.heal()
    cluster.wait_serving(lost)
    tell("a healed host serves after", took(began_s), 10)


def test_a_host_is_added(cluster: Cluster) -> None:
    began_s = time.monotonic()
    cluster.start_worker(cluster["spare"])
    started_s = took(began_s)
    cluster.wait_serving(cluster["spare"])
    tell("an added host serves after", took(began_s), 10)
    tell_peer("ray start", started_s)
    cluster.run(cluster["spare"], "ray stop")
    until(lambda: cluster["spare"].address not in cluster.nodes())


def test_writes_while_a_leader_of_named_is_lost(cluster: Cluster) -> None:
    """On a worker: etcd goes on. The head's named is killed first, so that the standby leads."""
    [leader] = [host for host in cluster.workers if any("named" in name for name in cluster.node_of(host)["services"])]
    if cluster.leader() is not leader:
        pid = cluster.node_of(cluster.head)["services"]["named"]["pid"]
        cluster.head.run(f"kill -9 {pid}")
        until(lambda: cluster.leader() is leader)
    [other] = [host for host in cluster.workers if host is not leader]
    writing = cluster.start_program(other, "stalls", "named", "30")
    writing.wait("writing")
    leader.cut()
    [[_, _, _count]] = writing.wait("written")
    tell("writes to named stall for", max([line[2] for line in writing.told("stalled")], default=0.0), 6)
    writing.close()


def test_writes_while_a_copy_of_kv_is_lost(cluster: Cluster) -> None:
    cluster.sigmaos(cluster.head, "kv start --members 2 --mcpu 900")
    writing = cluster.start_program(cluster.head, "stalls", "kv", "40")
    writing.wait("writing")
    cluster.workers[1].cut()
    writing.wait("written")
    tell("writes to kv stall for", max([line[2] for line in writing.told("stalled")], default=0.0), 6)
    writing.close()
    cluster.workers[1].heal()
    cluster.wait_serving()
    cluster.sigmaos(cluster.head, "kv stop")


def test_boot_is_killed(cluster: Cluster) -> None:
    cluster.head.run(f"kill -9 {cluster.status()['boot_pid']}")
    began_s = time.monotonic()
    cluster.sigmaos(cluster.head, "start")
    cluster.wait_serving()
    tell("boot that was killed is ready after", took(began_s), 15)


def _count_words(cluster: Cluster, directory: Path) -> float:
    """The job's own time: without the upload, and the command's start."""
    books = corpus.write_corpus(directory, count=BOOKS, book_bytes=BOOK_BYTES)
    cluster.head.put(directory, "books")
    cluster.head.write("job.yml", JOB)
    cluster.python(cluster.head, BUCKET)
    runs_s = []
    for number in range(3):
        result = json.loads(cluster.sigmaos(cluster.head, f"mr run job.yml --name words-{number} --json"))
        assert result["ok"]
        runs_s.append(result["duration_s"])
    lines = cluster.sigmaos(cluster.head, "cat name/mr/words-2/out/mr-out-{0,1}/").splitlines()
    counts = dict(line.rsplit(maxsplit=1) for line in lines)
    assert int(counts["the"]) == sum(len(re.findall(rb"\bthe\b", book.text)) for book in books)
    return min(runs_s)


def test_word_count(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "three").mkdir()
    three_s = _count_words(cluster, tmp_path / "three")
    with _made(tmp_path, ["head", "desk"], "10.78.6") as made:
        for host in made:
            give_environment(host, with_project=True)
        alone = Cluster(made)
        alone.start_by_hand()
        (tmp_path / "one").mkdir()
        one_s = _count_words(alone, tmp_path / "one")
    tell(f"word count on three hosts {three_s:.1f} s, on one {one_s:.1f} s", three_s / one_s, 1.3, "x")


def _without_ours(config: dict[str, Any]) -> dict[str, Any]:
    """``cluster.yaml`` of a Ray alone, which is told the same."""
    files = {place: source for place, source in config["file_mounts"].items() if "sigmaos" not in place}
    return {
        **config,
        "file_mounts": files,
        "setup_commands": [line for line in config["setup_commands"] if "install.sh" not in line],
        "head_start_ray_commands": [line for line in config["head_start_ray_commands"] if "sigmaos st" not in line],
        "worker_start_ray_commands": ["ray stop", "ray start --address=$RAY_HEAD_IP:6379 --include-log-monitor=false"],
    }


def _switch_off_and_call_ray_up(raised: Cluster, wait: Callable[[], object]) -> float:
    """Seconds from the call of ``ray up`` until ``wait`` returns."""
    raised.switch_off_and_on(raised.head)
    began_s = time.monotonic()
    raised.on_desk("ray up -y cluster.yaml")
    wait()
    return took(began_s)


def _ray_alone(directory: Path) -> float:
    with _made(directory, ["head", "worker-1", "worker-2", "desk"], "10.78.8") as made:
        for host in made:
            give_environment(host, with_project=False)
        raised = Cluster(made)
        raised.prepare_desk()
        bare = yaml.safe_dump(_without_ours(yaml.safe_load(raised.cluster_yaml())))
        raised["desk"].write("sigmaos-ray/cluster.yaml", bare)
        raised.run(raised["desk"], "ray get-auth-token --generate")

        def wait() -> None:
            raised.python(raised.head, ALL_JOINED)

        raised.on_desk("ray up -y --no-config-cache cluster.yaml")
        wait()
        return _switch_off_and_call_ray_up(raised, wait)


def test_a_head_is_switched_off_and_ray_up_is_called(tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    alone_s = _ray_alone(tmp_path / "alone")
    with _made(tmp_path, ["head", "worker-1", "worker-2", "desk"], "10.78.7") as made:
        for host in made:
            give_environment(host, with_project=False)
        raised = Cluster(made)
        raised.ray_up()
        value_s = _switch_off_and_call_ray_up(raised, raised.wait_serving)
        tell("a head that was switched off, and all its workers, serve after ray up by", value_s, 40)
        tell_peer("until its three nodes are there", alone_s)
