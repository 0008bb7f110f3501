"""Leases, leaderships and time-outs rest on the steady clock: the wall clock may jump. It is asked for stamps alone."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
STAMPS = {
    "kernel/named/fs.py": "times of files",
    "kernel/named/nodes.py": "times of files",
    "kernel/named/server.py": "times of files",
    "kernel/s3/directory.py": "times of files",
    "kernel/s3/folder.py": "versions, which S3 itself does not keep",
    "kernel/s3/shared.py": "the same",
    "kernel/schedd/node_procs.py": "when procs came and went, as shown",
    "kernel/schedd/retention.py": "the age of logs, by the times of their files",
    "kernel/ux/node.py": "versions of what others change on the disk",
    "sigmaos_ray/cli/logs.py": "which lines are newer than a time",
    "sigmaos_ray/cli/procs.py": "when procs came and went, as shown",
    "sigmaos_ray/cli/stats.py": "how long a server runs, as shown",
    "sigmaos_ray/debug.py": "lines of logs",
    "sigmaos_ray/memfs.py": "times of files",
    "sigmaos_ray/mount/operations.py": "times of files",
    "sigmaos_ray/perf/series.py": "records over time",
    "sigmaos_ray/runner/spawntimes.py": "stages of a spawn, across processes, as shown",
    "sigmaos_ray/tls/authority.py": "when a certificate begins and ends, as every other end reads it",
    "sigmaos_ray/protsrv/stats.py": "when a server started, as shown",
}


def test_the_wall_clock_is_for_stamps() -> None:
    asks = re.compile(r"\btime\.time(_ns)?\(|\bdatetime\.now\(|\butcnow\(|CLOCK_REALTIME")
    files = [file for part in ("kernel", "sigmaos_ray", "user") for file in (ROOT / part).rglob("*.py")]
    asking = {str(file.relative_to(ROOT)) for file in files if asks.search(file.read_text())}
    assert {name for name in asking if not name.startswith("sigmaos_ray/testing/")} == set(STAMPS)
