"""Word count elsewhere, each in a process of its own: ``python mr_peers.py PEER FILE...`` prints what it took, as JSON.

All count the words of local files on two cores, in the way that the peer's users would choose; starting the peer (a
session, a cluster, its workers) is not counted, and neither is S3: both are in their favour.
"""

from __future__ import annotations

import collections
import json
import multiprocessing
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Counts = dict[Any, int]

CORES = 2
_WORD = re.compile(r"\w+")


def measured(peer: str, files: Sequence[Path]) -> dict[str, float]:
    """Runs a peer: seconds, words, and how many different ones. LookupError with the reason if it cannot run here."""
    command = [sys.executable, __file__, peer, *map(str, files)]
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    roots = [str(Path(__file__).parents[2]), env.get("PYTHONPATH", "")]
    env["PYTHONPATH"] = os.pathsep.join(filter(None, roots))
    told = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    if told.returncode:
        raise LookupError(told.stderr.strip().rpartition("\n")[2] or f"ended with {told.returncode}")
    found: dict[str, float] = json.loads(told.stdout.strip().rpartition("\n")[2])
    return found


def pool(files: Sequence[str], timed: Callable[[Callable[[], Counts]], None]) -> None:
    """The standard library, with our own way to find words: what is between us and that is what we add."""

    def count_all() -> Counts:
        merged: collections.Counter[bytes] = collections.Counter()
        with multiprocessing.get_context("fork").Pool(CORES) as workers:
            for counts in workers.imap_unordered(_count_file, files):
                merged.update(counts)
        return merged

    timed(count_all)


def _count_file(file: str) -> collections.Counter[bytes]:
    from user.mr.words import words

    counts: collections.Counter[bytes] = collections.Counter()
    rest = b""
    with open(file, "rb") as source:
        while part := source.read(1 << 20):
            block = rest + part
            cut = block.rfind(b"\n") + 1
            rest = block[cut:]
            counts.update(words(block[:cut]))
    counts.update(words(rest))
    return counts


def dask(files: Sequence[str], timed: Callable[[Callable[[], Counts]], None]) -> None:
    import dask.bag

    def count_all() -> Counts:
        lines = dask.bag.read_text(list(files))
        found = lines.map(_WORD.findall).flatten().frequencies()
        return dict(found.compute(scheduler="processes", num_workers=CORES))

    timed(count_all)


def ray_data(files: Sequence[str], timed: Callable[[Callable[[], Counts]], None]) -> None:
    import pandas as pd
    import ray
    import ray.data

    def count_batch(batch: Any) -> pd.DataFrame:
        counts: collections.Counter[str] = collections.Counter()
        for line in batch["text"]:
            counts.update(_WORD.findall(line))
        return pd.DataFrame({"word": list(counts), "count": list(counts.values())})

    def count_all() -> Counts:
        partial = ray.data.read_text(list(files)).map_batches(count_batch, batch_size=None)
        rows = partial.groupby("word").sum("count").take_all()
        return {row["word"]: row["sum(count)"] for row in rows}

    ray.init(address="local", num_cpus=CORES, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    timed(count_all)


def spark(files: Sequence[str], timed: Callable[[Callable[[], Counts]], None]) -> None:
    from pyspark.sql import SparkSession, functions

    session = (
        SparkSession.builder.master(f"local[{CORES}]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "2g")
        .config("spark.sql.shuffle.partitions", str(CORES))
        .getOrCreate()
    )

    def count_all() -> Counts:
        lines = session.read.text(list(files))
        words = lines.select(functions.explode(functions.split("value", r"(?U)\W+")).alias("word"))
        rows = words.where("word != ''").groupBy("word").count().collect()
        return {row["word"]: row["count"] for row in rows}

    timed(count_all)


PEERS = {"multiprocessing.Pool": pool, "Dask bag": dask, "Ray Data": ray_data, "PySpark": spark}


def main(argv: list[str]) -> None:
    def timed(count_all: Callable[[], Counts]) -> None:
        began_s = time.perf_counter()
        counts = count_all()
        took_s = time.perf_counter() - began_s
        print(json.dumps({"s": took_s, "words": sum(counts.values()), "distinct": len(counts)}), flush=True)

    PEERS[argv[0]](argv[1:], timed)


if __name__ == "__main__":
    main(sys.argv[1:])
