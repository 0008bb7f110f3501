"""The demo from start to end, with procs that run in place: exit codes, and that it always shuts down."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import AsyncSigmaClnt, Proc, Status, serr
from sigmaos_ray.cli import demo
from sigmaos_ray.testing import s3
from user.example.count import Counter

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from fakeboot import FakeBoot


class Clnt(AsyncSigmaClnt):
    """Runs a proc where ``wait_exit`` stands; a file named ``bad`` fails, ``slow`` never ends."""

    files: dict[str, str] = {}

    async def spawn(self, proc: Proc) -> str:
        self.files[proc.pid] = proc.args[0]
        return proc.pid

    async def wait_exit(self, pid: str, timeout_s: float | None = None, *, peek: bool = False) -> Status:
        pathname = self.files[pid]
        if pathname.endswith("bad"):
            return Status.crash("exit status 7")
        if pathname.endswith("slow"):
            signal.raise_signal(signal.SIGINT)
            await asyncio.Event().wait()
        counter = Counter()
        counter.add(await self.get_file(pathname))
        words, the = counter.done()
        return Status.info("", {"words": words, "the": the, "node": "sigma-1", "seconds": 0.1})


class Buckets:
    """An S3 without objects: the files are in memory."""

    def __init__(self, _instance: object) -> None:
        self.buckets: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        assert not self.buckets, "the demo's bucket stays behind"

    def make_bucket(self, bucket: str) -> bool:
        self.buckets.add(bucket)
        return True

    def remove_keys(self, bucket: str, keys: list[str]) -> None:
        assert bucket in self.buckets
        assert all(key.startswith("gutenberg/") for key in keys)

    def remove_bucket(self, bucket: str) -> None:
        self.buckets.remove(bucket)


@pytest.fixture
def books(boot: FakeBoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An input directory; the demo's temporary files are in ``tmp_path`` as well."""
    monkeypatch.setattr(demo, "AsyncSigmaClnt", Clnt)
    monkeypatch.setattr(demo, "DIRECTORY", "name/demo")
    monkeypatch.setattr(s3, "S3", Buckets)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    directory = tmp_path / "books"
    directory.mkdir()
    (directory / "a book.txt").write_text("the cat and the dog")
    return directory


def left_behind(books: Path) -> list[str]:
    return [entry.name for entry in books.parent.iterdir() if entry.name.startswith("sigmaos-demo-")]


def test_all_is_well(books: Path, boot: FakeBoot, capsys: pytest.CaptureFixture[str]) -> None:
    (books / "more.txt").write_text("The end\nof the")
    assert demo.run_demo(books) == 0
    assert boot.log == ["start None", "stop"]
    table = [line.split() for line in capsys.readouterr().out.splitlines()[-4:]]
    assert table[1] == ["a", "book.txt", "5", "2", "sigma-1", "0.100", "s"]
    assert table[2][:4] == ["more.txt", "4", "1", "sigma-1"]
    assert table[3][:5] == ["total", "9", "3", "1", "node"]
    assert left_behind(books) == []


def test_a_proc_that_fails_is_shown_and_the_others_counted(
    books: Path, boot: FakeBoot, capsys: pytest.CaptureFixture[str]
) -> None:
    (books / "bad").write_text("the")
    assert demo.run_demo(books) == 1
    out = capsys.readouterr().out
    assert "failed: bad: ERROR: exit status 7" in out
    assert "a book.txt" in out
    assert boot.log[-1] == "stop"


@pytest.mark.parametrize("as_json", [False, True])
def test_ctrl_c_shuts_everything_down(books: Path, boot: FakeBoot, as_json: bool) -> None:
    (books / "slow").write_text("the")
    handler = signal.getsignal(signal.SIGINT)
    assert demo.run_demo(books, as_json=as_json) == 130
    assert boot.log == ["start None", "stop"]
    assert left_behind(books) == []
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_boot_that_fails_is_told_and_cleaned_up(books: Path, boot: FakeBoot) -> None:
    boot.fails = True
    with pytest.raises(serr.Error, match="did not start"):
        demo.run_demo(books)
    assert left_behind(books) == []


def test_keep(books: Path, boot: FakeBoot, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.run_demo(books, keep=True) == 0
    assert boot.log == ["start None"]
    assert len(left_behind(books)) == 1
    assert f"--state-dir {boot.dirs[0]} stop" in capsys.readouterr().out
    boot.stop_instance(boot.dirs[0])
