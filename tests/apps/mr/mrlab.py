"""Texts for MapReduce, what a sequential run finds in them, and apps whose tasks wait for the test."""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from sigmaos_ray.testing import corpus
from user.mr import App, Job, MapReduce, output_of
from user.mr.words import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from sigmaos_ray import SigmaClnt
    from sigmaos_ray.testing import Tstate
    from user.mr import JobResult, Progress

WITHIN_S = 60.0

GIVEN = {
    "no-end": b"Java and Python. No newline at the end: Python",
    "one-line": b"word Perl " * 20_000,
    "runes": "Ein Häuschen — naïve ½ 人民 人民\r\nJava\u00a0Scala".encode() * 50,
    "bad-utf8": b"caf\xe9 \xff\xfe caf\xc3\xa9\n" * 20,
    "empty": b"",
    "separators": b"\n\n  \t.,;\n" * 30,
}
"""Texts with what is hard about texts."""


class Texts(NamedTuple):
    """Files below ``input``, and the contents of each."""

    root: str
    files: Mapping[str, bytes]

    @property
    def input(self) -> str:
        return f"{self.root}/in"

    def words(self) -> dict[bytes, int]:
        """What a sequential count finds."""
        counts: Counter[bytes] = Counter()
        for text in self.files.values():
            counts.update(words(text))
        return dict(counts)

    def job(self, **changes: object) -> Job:
        fields: dict[str, object] = {
            "input": self.input,
            "output": f"{self.root}/out",
            "binsz": 100_000,
            "linesz": 1 << 20,
        }
        return Job.of(fields | {"coordinators": 1} | changes)


def put_texts(ts: Tstate, bucket: str) -> Texts:
    """Given and generated texts, in a bucket of their own."""
    files = {f"given/{name}": text for name, text in GIVEN.items()}
    files |= {book.file_name: book.text for book in corpus.books(3, book_bytes=120_000)}
    ts.s3.make_bucket(bucket)
    for name, text in files.items():
        ts.s3.client.put_object(Bucket=bucket, Key=f"in/{name}", Body=text)
    return Texts(f"name/s3/~any/{bucket}", files)


def counts(sc: SigmaClnt, result: JobResult) -> dict[bytes, int]:
    """The output of a job that counts. No key may be there twice."""
    assert result.ok, result.error
    pairs = list(output_of(sc, result.job))
    assert len({key for key, _ in pairs}) == len(pairs)
    return {key: int(value) for key, value in pairs}


def raw_output(sc: SigmaClnt, job: str) -> list[bytes]:
    """The files of the output, as they are."""
    directory = f"name/mr/{job}/out"
    return [sc.get_file(f"{directory}/{name}/") for name in sorted(stat.name for stat in sc.get_dir(directory))]


class Gate:
    """Tasks wait until it is opened. They come in files of a local directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = str(directory)

    def pass_through(self, who: str) -> None:
        """In a task: says that it came, and waits."""
        with open(f"{self._directory}/{who}.{os.getpid()}", "w"):
            pass
        while not os.path.exists(f"{self._directory}/open"):
            time.sleep(0.01)  # a file of the machine: there is nothing else to wait on

    def came(self, who: str) -> list[int]:
        """The processes that came so far."""
        return [int(name.rpartition(".")[2]) for name in os.listdir(self._directory) if name.startswith(f"{who}.")]

    def open(self) -> None:
        with open(f"{self._directory}/open", "w"):
            pass


def gated(gate: Gate, held: Callable[[str], bool] = lambda name: True, hold_reduce: bool = False) -> App:
    """Word count by record whose map tasks wait at the gate if they meet a file that is ``held``."""

    def map_words(name: str, lines: Iterator[bytes], emit: Callable[[bytes | str, int], None]) -> None:
        if held(name):
            gate.pass_through("map")
        for line in lines:
            for word in words(line):
                emit(word, 1)

    def reduce(_key: bytes | str, values: list[int]) -> int:
        if hold_reduce:
            gate.pass_through("reduce")
        return sum(values)

    return App(map=map_words, combine=lambda _key, values: sum(values), reduce=reduce, name="gated")


def until(condition: Callable[[], bool], describe: Callable[[], object] = lambda: "") -> None:
    """Waits for a state that nobody announces."""
    deadline_s = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline_s, f"the state was not reached: {describe()}"
        time.sleep(0.05)


def until_progress(running: MapReduce, reached: Callable[[Progress], bool]) -> None:
    until(lambda: reached(running.progress()), running.progress)
