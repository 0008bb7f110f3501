"""The client of a file system: which instance it is of, and how long it lives: threads, loops, processes, procs."""

from __future__ import annotations

import asyncio
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import serr
from sigmaos_ray.fsspec import SigmaFileSystem
from sigmaos_ray.instance import PROC_ENV_VARIABLE, outside_proc_env

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fssite import Site

WAIT_S = 60


@pytest.fixture
def fs(site: Site) -> Iterator[SigmaFileSystem]:
    by_directory = SigmaFileSystem(state_dir=str(site.state_file.parent))
    yield by_directory
    by_directory.close()


def script(site: Site, body: str, **env: str) -> str:
    """Runs Python in a process of its own, with ``fs`` at hand; returns what it printed. It must end in peace."""
    head = "import os, sys\nfrom sigmaos_ray.fsspec import SigmaFileSystem\nfs = SigmaFileSystem(sys.argv[1])\n"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", head + body, str(site.state_file)],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        env={**os.environ, **env},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.strip()


def test_one_object_for_equal_options(site: Site, fs: SigmaFileSystem) -> None:
    again = SigmaFileSystem(state_dir=str(site.state_file.parent))
    assert again is fs
    assert SigmaFileSystem(state_file=str(site.state_file)) is not fs
    copy = pickle.loads(pickle.dumps(fs))
    assert copy is fs
    assert fs.fsid == SigmaFileSystem(state_file=str(site.state_file)).fsid
    assert fs.fsid != SigmaFileSystem(state_file=str(site.state_file), realm="other").fsid


def test_closed_and_used_again(fs: SigmaFileSystem) -> None:
    before = fs.clnt
    fs.close()
    assert fs.exists("name/ux")
    assert fs.clnt is not before
    with pytest.raises(serr.Unreachable):
        before.get_dir("name")


def test_options_that_are_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIGMAOS_NAMED", raising=False)
    with pytest.raises(TypeError, match="unknown storage options: statefile"):
        SigmaFileSystem(statefile="x")
    nowhere = SigmaFileSystem(state_dir=str(tmp_path))
    with pytest.raises(ConnectionError, match="no running instance"):
        nowhere.ls("name")


def test_threads(fs: SigmaFileSystem) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: fs.pipe_file(f"name/t{number}", b"%d" % number), range(50)))
        contents = list(threads.map(lambda number: fs.cat_file(f"name/t{number}"), range(50)))
    assert contents == [b"%d" % number for number in range(50)]
    fs.rm("name/t*")


async def test_on_a_loop_of_ones_own(site: Site) -> None:
    fs = SigmaFileSystem(state_file=str(site.state_file), asynchronous=True)
    await fs._pipe({f"name/a{number}": b"x" for number in range(5)})
    contents = await asyncio.gather(*(fs._cat_file(f"name/a{number}") for number in range(5)))
    assert contents == [b"x"] * 5
    assert [path async for path, _, _ in fs._walk("name/ux", maxdepth=1)] == ["name/ux"]
    await fs._rm("name/a?")
    fs.close()


def test_a_proc_has_a_client_of_its_own(
    site: Site, fs: SigmaFileSystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A worker runs one proc after the other, and fsspec keeps the file system."""
    default = SigmaFileSystem()
    env = outside_proc_env(site.state_file)
    for pid in ("proc-1", "proc-2"):
        monkeypatch.setenv(PROC_ENV_VARIABLE, env.to_json().replace(env.pid, pid))
        assert SigmaFileSystem() is default
        assert default.clnt.pid == pid
        assert default.isdir("name/ux/~local")
    default.close()


def test_a_process_ends_in_peace(site: Site) -> None:
    assert script(site, "fs.pipe_file('name/p', b'x'); f = fs.open('name/p'); print(f.read())") == "b'x'"
    assert script(site, "print(sum(1 for _ in fs.walk('name/ux', maxdepth=1)))") == "1"


def test_a_process_that_was_spawned(site: Site) -> None:
    body = (
        "import pickle\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from multiprocessing import get_context\n"
        "fs.pipe_file('name/p', b'x')\n"
        "with ProcessPoolExecutor(1, get_context('spawn')) as pool:\n"
        "    print(pool.submit(fs.cat_file, 'name/p').result())\n"
    )
    assert script(site, body) == "b'x'"


FORK = """
reader, writer = os.pipe()
if os.fork() == 0:
    try:
        reply = fs.cat_file("name/p")
    except ConnectionError as error:
        reply = str(error).encode()
    os.write(writer, reply)
    os._exit(0)
os.close(writer)
os.wait()
print(os.read(reader, 1000).decode())
"""


def test_a_process_that_was_forked(site: Site, fs: SigmaFileSystem) -> None:
    fs.pipe_file("name/p", b"shared")
    assert script(site, FORK) == "shared"


def test_a_process_that_was_forked_after_the_first_use(site: Site, fs: SigmaFileSystem) -> None:
    fs.pipe_file("name/p", b"shared")
    body = f"fs.exists('name/p'); f = fs.open('name/p')\n{FORK}\nprint(f.read())"
    # Forced: on a busy machine a client may take gRPC, which does not survive a fork.
    assert script(site, body, SIGMAOS_TRANSPORT="plain") == "shared\nb'shared'"


LOADERS = """
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
names = [f"name/ux/~local/forked/f{number}" for number in range(20)]
fs.pipe({name: name.encode() for name in names})
def load(name):
    with fs.open(name) as file:
        return file.read().decode()
with ProcessPoolExecutor(3, get_context("fork")) as pool:
    print(list(pool.map(load, names)) == names)
print(fs.cat_file(names[0]).decode() == names[0])
"""


def test_loaders_of_data_that_are_forked_while_it_is_in_use(site: Site) -> None:
    assert script(site, LOADERS, SIGMAOS_TRANSPORT="plain") == "True\nTrue"


def test_a_process_that_was_forked_after_grpc_was_used_says_so(site: Site) -> None:
    """gRPC does not survive a fork."""
    use = "fs.exists('name/p')\n"
    assert "spawn" in script(site, use + FORK, SIGMAOS_TRANSPORT="grpc", GRPC_ENABLE_FORK_SUPPORT="0")
