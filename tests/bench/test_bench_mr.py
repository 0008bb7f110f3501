"""Word count over 256 MiB in S3, beside what else counts words on two cores.

Claims: in at most 0.4 times the time of the fastest of PySpark, Dask bag and Ray Data, and 1.5 times that of a bare
multiprocessing.Pool, which all read local files, while ours come out of S3 and go through the namespace; no process
of ours with more than 500 MB; nine tenths of a mapper's time in its map; and on a machine of two cores, where more
nodes cannot bring more speed, little more time with two and three kernel nodes.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import mr_peers
import psutil
import pytest
from measure import Series, timed

from sigmaos_ray.testing import corpus
from user.mr import Job, MapReduce, output_of, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sigmaos_ray.testing import Tstate
    from user.mr import JobResult

BUCKET: Final = "bench-mr"
MIB: Final = 1 << 20
BOOKS: Final = 8
FILES: Final = 16
ROUNDS: Final = 3
LIBRARIES: Final = ("PySpark", "Dask bag", "Ray Data")
PY_SPY: Final = str(Path(sys.executable).with_name("py-spy"))


class Input(NamedTuple):
    files: list[Path]
    total_bytes: int


@pytest.fixture(scope="module")
def texts(instance: Tstate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Input]:
    """The same 16 files of 16 MiB on the disk and in S3: eight books of 4 MiB, four in each, in turns."""
    directory = tmp_path_factory.mktemp("mr")
    books = [book.text for book in corpus.books(BOOKS, book_bytes=4 * MIB)]
    for number in range(FILES):
        text = b"".join(books[(number + at) % BOOKS] for at in range(4))
        (directory / f"{number:02}").write_bytes(text)
    instance.s3.make_bucket(BUCKET)
    instance.s3.upload_dir(directory, BUCKET, "in")
    files = sorted(directory.iterdir())
    yield Input(files, sum(file.stat().st_size for file in files))
    instance.s3.remove_bucket(BUCKET)


JOB: Final = Job(input=f"name/s3/~any/{BUCKET}/in", output=f"name/s3/~any/{BUCKET}/out")


def count_words(instance: Tstate, job: Job = JOB) -> JobResult:
    result = run(instance.sc, job)
    assert result.ok, result.error
    return result


def ours(instance: Tstate, name: str = "mr", rounds: int = ROUNDS) -> Series:
    """Whole jobs, from the call to its return: task servers, coordinators and all. The first one, which starts the
    workers, is told apart."""
    first_s = timed(lambda _: count_words(instance), 1)
    series = Series(name, [timed(lambda _: count_words(instance), 1) for _ in range(rounds)])
    print(f"\n  word count of 256 MiB: {series}; the first one, with cold workers, {first_s:.2f} s")
    return series


def test_beside_others(instance: Tstate, texts: Input) -> None:
    result = count_words(instance)
    pairs = {key: int(value) for key, value in output_of(instance.sc, result.job)}
    mine = ours(instance)
    peers: list[Series] = []
    for peer in mr_peers.PEERS:
        try:
            runs = [mr_peers.measured(peer, texts.files) for _ in range(ROUNDS)]
        except LookupError as error:
            print(f"  no {peer}: {error}")
            continue
        for found in runs:
            assert (found["words"], found["distinct"]) == (sum(pairs.values()), len(pairs)), peer
        peers.append(Series(peer, [found["s"] for found in runs]))
        print(f"  {peers[-1]}: ratio {mine.median_s / peers[-1].median_s:.2f}")
    libraries = [series for series in peers if series.name in LIBRARIES]
    if libraries:
        best = min(libraries, key=lambda series: series.median_s)
        tell(f"ratio to the fastest library, {best.name}", mine.median_s / best.median_s, 0.4)
    for series in peers:
        if series.name not in LIBRARIES:
            tell(f"ratio to {series.name}", mine.median_s / series.median_s, 1.5)


def tell(what: str, figure: float, goal: float) -> None:
    print(f"  {what}: {figure:.2f}, goal <= {goal} {'met' if figure <= goal else 'NOT met'}")


def test_memory(instance: Tstate, texts: Input) -> None:
    """The largest process of ours: of the procs, and of the kernel's services. S3's emulator holds all objects in
    memory, and is not ours."""
    largest: dict[str, int] = {}
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.05):
            for process in psutil.process_iter(["name", "cmdline", "memory_info"]):
                name = (process.info["cmdline"] or [""])[0]
                if name.startswith("ray::") and process.info["memory_info"]:
                    kind = name.removeprefix("ray::").split("(")[0].strip()
                    largest[kind] = max(largest.get(kind, 0), process.info["memory_info"].rss)

    looking = threading.Thread(target=look, name="memory")
    looking.start()
    try:
        count_words(instance)
    finally:
        ended.set()
        looking.join()
    kind, most = max(largest.items(), key=lambda item: item[1])
    print(f"\n  largest resident set of a process ({kind}): {most / 1e6:.0f} MB")
    tell("of 500 MB", most / 500e6, 1.0)


def test_where_the_time_of_a_mapper_goes(instance: Tstate, texts: Input, tmp_path: Path) -> None:
    """Samples of one worker's main thread while it runs mappers; what waits is not counted."""
    count_words(instance)
    with MapReduce(instance.sc, JOB) as running:
        mapper = 0
        while not mapper:
            procs = [info for info in instance.sc.procs() if info.program.endswith("mr.mapper")]
            mapper = next((info.os_pid for info in procs if info.os_pid), 0)
        samples = tmp_path / "samples"
        spy = [PY_SPY, "record", "-p", str(mapper), "-d", "3", "-r", "200", "-f", "raw", "-t", "-o", str(samples)]
        told = subprocess.run(spy, capture_output=True, text=True, check=False)
        assert running.wait().ok
    if told.returncode:
        pytest.skip(f"py-spy: {told.stderr.strip()}")
    lines = [line.rpartition(" ") for line in samples.read_text().splitlines()]
    stacks = [(stack, int(count)) for stack, _, count in lines if "mr/mapper.py" in stack]
    total = sum(count for _, count in stacks)
    mapping = sum(count for stack, count in stacks if "mr/engine.py" in stack)
    print(f"\n  of {total} samples in mappers {mapping} in map: {mapping / max(total, 1):.2f}, goal >= 0.9")


def test_more_nodes(instance: Tstate, texts: Input) -> None:
    """On two cores this shows what more nodes cost, not what they bring."""
    one = ours(instance, "1 node")
    added: list[str] = []
    try:
        for nodes_count in (2, 3):
            added += instance.boot_node(1, num_cpus=1)
            series = ours(instance, f"{nodes_count} nodes")
            print(f"  {nodes_count} nodes on the same two cores: {series.median_s / one.median_s:.2f} times as long")
    finally:
        for kernel_id in added:
            instance.kill_node(kernel_id)
