"""What a user of several hosts does with them, from the exercises on: the programs of ``user``, his own, their logs and
profiles, a realm."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from cluster import ROOT, until

from sigmaos_ray.testing import corpus

if TYPE_CHECKING:
    from pathlib import Path

    from cluster import Cluster

pytestmark = pytest.mark.soak

BOOKS = 6
JOB = """\
app: wc
nreduce: 3
binsz: 128KiB
local: books/
input: name/s3/~any/hosts/in
output: name/s3/~any/hosts/out
"""
BUCKET = """
from sigmaos_ray.instance import read_instance
from sigmaos_ray.testing.s3 import S3

with S3(read_instance()) as s3:
    s3.make_bucket("hosts")
"""
OWN = """
import socket, helper

def main(argv):
    print("printed on", socket.gethostname())
    return helper.word()
"""
ON_EACH = """
import sys
from sigmaos_ray import Proc, SigmaClnt

with SigmaClnt() as sc:
    procs = [Proc(sys.argv[1], mcpu=1500) for _ in range(3)]
    for proc in procs:
        sc.spawn(proc)
    for proc in procs:
        print(proc.pid, sc.wait_exit(proc.pid))
"""


def test_the_exercises(cluster: Cluster) -> None:
    # A database of several machines is one that is named, and there is none here.
    cluster.run(
        cluster.head,
        f"cd {ROOT} && python -m pytest -q -p no:cacheprovider tests/exercises -k 'not demo and not database'",
    )


def test_mapreduce_counts_words_on_all_hosts(cluster: Cluster, tmp_path: Path) -> None:
    books = corpus.write_corpus(tmp_path, count=BOOKS, book_bytes=256 << 10)
    cluster.head.put(tmp_path, "books")
    cluster.head.write("job.yml", JOB)
    cluster.python(cluster.head, BUCKET)
    result = json.loads(cluster.sigmaos(cluster.head, "mr run job.yml --name hosts --json"))
    assert result["ok"]
    lines = cluster.sigmaos(cluster.head, "cat name/mr/hosts/out/mr-out-{0,1,2}/").splitlines()
    counts = dict(line.rsplit(maxsplit=1) for line in lines)
    assert int(counts["the"]) == sum(len(re.findall(rb"\bthe\b", book.text)) for book in books)


def test_a_store_with_two_members(cluster: Cluster) -> None:
    cluster.sigmaos(cluster.head, "kv start --members 2 --servers 2 --mcpu 600")
    try:
        for host in cluster.machines:
            cluster.sigmaos(host, f"kv put from-{host.name} {host.address}")
        for host in cluster.machines:
            assert cluster.sigmaos(cluster.workers[-1], f"kv get from-{host.name}").strip() == host.address
    finally:
        cluster.sigmaos(cluster.head, "kv stop")


def test_a_cache_on_all_hosts(cluster: Cluster) -> None:
    [places] = cluster.program(cluster.head, "caching")
    assert places.split() == sorted(host.address for host in cluster.machines)


def test_programs_of_the_folder_where_one_works(cluster: Cluster) -> None:
    """Of changed files the newest; what they print is found from anywhere."""
    for word in ("first", "second"):
        cluster.head.write("work/own.py", OWN)
        cluster.head.write("work/helper.py", f"def word():\n    return {word!r}\n")
        cluster.head.write("work/on_each.py", ON_EACH)
        lines = cluster.run(cluster.head, "cd work && python on_each.py own").stdout.splitlines()
        assert [line.partition(" ")[2] for line in lines] == [f'OK "{word}"'] * 3
        logs = [cluster.sigmaos(cluster.workers[0], f"logs {line.split()[0]}") for line in lines]
        printed = {log.splitlines()[-1] for log in logs}
        assert printed == {f"printed on {host.name}" for host in cluster.machines}


def test_profiles_of_servers_and_procs_elsewhere(cluster: Cluster) -> None:
    worker = cluster.node_of(cluster.workers[0])["id"]
    report = json.loads(cluster.sigmaos(cluster.head, f"perf name/ux/{worker} --seconds 1 --json"))
    assert report["total"] >= 0
    pid = cluster.sigmaos(cluster.workers[0], "spawn example_echo_server name/profiled").strip()
    try:
        until(lambda: "profiled" in cluster.sigmaos(cluster.head, "ls name/"), "the server does not start")
        report = json.loads(cluster.sigmaos(cluster.head, f"perf {pid} --seconds 1 --json"))
        assert report["who"]
    finally:
        cluster.sigmaos(cluster.head, f"evict {pid}")


def test_a_realm_has_all_hosts(cluster: Cluster) -> None:
    cluster.sigmaos(cluster.head, "realm create books")
    try:
        for service in ("ux", "schedd"):
            entries = cluster.sigmaos(cluster.head, f"--realm books ls name/{service}").split()
            assert len(entries) == len(cluster.machines)
        pid, status = cluster.sigmaos(cluster.workers[0], "--realm books spawn --wait example").splitlines()
        assert status.startswith("OK")
        assert "Hello world" in cluster.sigmaos(cluster.head, f"--realm books logs {pid}")
    finally:
        cluster.sigmaos(cluster.head, "realm rm books --state")
