"""The namespace as a directory: what people's programs do in it. The command runs as they type it."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import SigmaClnt
from sigmaos_ray.instance import outside_proc_env
from sigmaos_ray.mount.mounting import DEVICE, UNMOUNT, unmount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fssite import Site

WAIT_S = 60

pytestmark = pytest.mark.skipif(
    not DEVICE.exists() or shutil.which(UNMOUNT) is None, reason="needs /dev/fuse and Debian's fuse3"
)


def wait_until(holds: Callable[[], object]) -> None:
    """For the state of a mount, of which nothing tells."""
    deadline_s = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def run(*command: str | Path, cwd: Path | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [os.fspath(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert not check or done.returncode == 0, done.stderr
    return done


@contextlib.contextmanager
def mounted(site: Site, directory: Path, root: str = "name") -> Iterator[subprocess.Popen[str]]:
    directory.mkdir(exist_ok=True)
    command = [str(Path(sys.executable).with_name("sigmaos")), "mount", str(directory), root]
    env = {**os.environ, "SIGMAOS_STATE_DIR": str(site.state_file.parent)}
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: os.path.ismount(directory) or process.poll() is not None)
        assert process.poll() is None, process.communicate()[1]
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=WAIT_S)
        if os.path.ismount(directory):
            unmount(directory)


@pytest.fixture(scope="module")
def top(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("mount") / "name"
    with mounted(site, directory):
        yield directory


@pytest.fixture(scope="module")
def sc(site: Site) -> Iterator[SigmaClnt]:
    with SigmaClnt(outside_proc_env(site.state_file)) as clnt:
        yield clnt


@pytest.fixture(params=["ux", "s3", "named"])
def place(request: pytest.FixtureRequest, top: Path, sc: SigmaClnt, bucket: str) -> Iterator[Path]:
    """An empty directory of a server."""
    above = {"named": "", "ux": "ux/~local/", "s3": f"s3/~local/{bucket}/"}[request.param]
    sc.makedirs(f"name/{above}test")
    yield top / f"{above}test"
    sc.rmdir(f"name/{above}test")


on_ux = pytest.mark.parametrize("place", ["ux"], indirect=True)
not_on_s3 = pytest.mark.parametrize("place", ["ux", "named"], indirect=True)


def errno_when(call: Callable[[], object]) -> str:
    with pytest.raises(OSError, match=r"Errno") as caught:
        call()
    return errno.errorcode[caught.value.errno or 0]


def test_ls_cat_cp_and_grep(place: Path, tmp_path: Path) -> None:
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    (tmp_path / "tree" / "a.txt").write_text("one\nneedle\n")
    (tmp_path / "tree" / "deep" / "b.txt").write_bytes(b"needle too\n" + bytes(200_000))
    run("cp", "-r", tmp_path / "tree", place)
    assert run("ls", place / "tree").stdout == "a.txt\ndeep\n"
    assert run("cat", place / "tree" / "a.txt").stdout == "one\nneedle\n"
    assert run("cat", place / "none", check=False).stderr.endswith("No such file or directory\n")
    found = run("grep", "-r", "--text", "-l", "needle", ".", cwd=place).stdout.split()
    assert sorted(found) == ["./tree/a.txt", "./tree/deep/b.txt"]
    run("cp", "-r", place / "tree", tmp_path / "back")
    assert run("diff", "-r", tmp_path / "tree", tmp_path / "back").stdout == ""
    run("rm", "-r", place / "tree")
    assert os.listdir(place) == []


def test_the_whole_namespace(top: Path) -> None:
    assert {"ux", "s3"} <= set(os.listdir(top))
    assert (top / "ux" / "~any").is_dir()
    assert "TOTAL" not in run("ls", "-lR", top / "ux", check=False).stderr
    assert (top / "ux" / "~local" / ".statsd").read_bytes().startswith(b"{")


def test_redirection_and_truncation(place: Path) -> None:
    file = place / "f"
    run("sh", "-c", f"echo first > {file}; echo second > {file}")
    assert file.read_text() == "second\n"
    file.write_bytes(b"")
    assert file.stat().st_size == 0
    assert stat.S_ISREG(file.stat().st_mode)


@not_on_s3
def test_in_place(place: Path) -> None:
    file = place / "f"
    file.write_text("0123456789")
    with file.open("r+b") as opened:
        opened.seek(3)
        opened.write(b"abc")
        opened.truncate(8)
        opened.seek(0)
        assert opened.read() == b"012abc67"
    run("sh", "-c", f"echo more >> {file}")
    assert file.read_bytes() == b"012abc67more\n"
    os.truncate(file, 3)
    assert file.read_bytes() == b"012"


def test_large_files(place: Path, tmp_path: Path) -> None:
    size = 900_000 if place.parent.name == "name" else 5_000_000
    (tmp_path / "large").write_bytes(os.urandom(size))
    run("cp", tmp_path / "large", place / "large")
    run("cmp", tmp_path / "large", place / "large")
    with (place / "large").open("rb") as file:
        file.seek(size // 2)
        assert file.read(10) == (tmp_path / "large").read_bytes()[size // 2 : size // 2 + 10]


def test_renames(place: Path) -> None:
    (place / "a").write_text("a")
    (place / "d").mkdir()
    run("mv", place / "a", place / "d" / "b")
    assert (place / "d" / "b").read_text() == "a"
    run("mv", place / "d", place / "e")
    assert (place / "e" / "b").read_text() == "a"


@on_ux
def test_a_move_to_another_server_is_a_copy(place: Path, top: Path) -> None:
    (place / "a").write_text("a")
    assert errno_when(lambda: (place / "a").rename(top / "moved")) == "EXDEV"
    run("mv", place / "a", top / "moved")
    assert (top / "moved").read_text() == "a"
    (top / "moved").unlink()


@not_on_s3
def test_tail_follows_what_others_append(place: Path, sc: SigmaClnt, top: Path) -> None:
    pathname = f"name/{(place / 'log').relative_to(top)}"
    sc.put_file(pathname, b"one\n")
    with subprocess.Popen(["tail", "-f", "-s", "0.1", place / "log"], stdout=subprocess.PIPE) as tail:
        assert tail.stdout is not None
        assert tail.stdout.readline() == b"one\n"
        for line in (b"two\n", b"three\n"):
            sc.put_file(pathname, line, mode=0x81)
            assert tail.stdout.readline() == line
        tail.kill()


@not_on_s3
def test_an_editor_saves(place: Path) -> None:
    """As vim, emacs and VS Code do it: a backup, a new file beside the old one, a rename."""
    file = place / "notes.txt"
    file.write_text("old\n")
    os.rename(file, place / "notes.txt~")
    with (place / "notes.txt").open("x") as new:
        new.write("new\n")
        new.flush()
        os.fsync(new.fileno())
    os.chmod(file, stat.S_IMODE((place / "notes.txt~").stat().st_mode))
    os.unlink(place / "notes.txt~")
    run("sed", "-i", "s/new/newer/", file)
    assert file.read_text() == "newer\n"
    assert os.listdir(place) == ["notes.txt"]


@on_ux
@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_git(place: Path) -> None:
    git = ("git", "-c", "user.name=n", "-c", "user.email=e@x", "-c", "safe.directory=*")
    run(*git, "init", "-q", ".", cwd=place)
    (place / "a.txt").write_text("a\n")
    assert run(*git, "status", "--short", cwd=place).stdout == "?? a.txt\n"
    run(*git, "add", ".", cwd=place)
    run(*git, "commit", "-qm", "first", cwd=place)
    assert run(*git, "status", "--short", cwd=place).stdout == ""
    (place / "a.txt").write_text("b\n")
    assert run(*git, "status", "--short", cwd=place).stdout == " M a.txt\n"
    run(*git, "checkout", "-q", "a.txt", cwd=place)
    assert (place / "a.txt").read_text() == "a\n"
    run(*git, "gc", "-q", cwd=place)
    run(*git, "fsck", "--strict", cwd=place)


@not_on_s3
def test_links(place: Path, sc: SigmaClnt, top: Path) -> None:
    (place / "target").write_text("x")
    run("ln", "-s", "target", place / "link")
    assert (place / "link").read_text() == "x"
    assert os.readlink(place / "link") == str(place / "target")
    assert sc.get_file(f"name/{(place / 'link').relative_to(top)}/") == b"x"
    assert errno_when(lambda: os.symlink("/etc/passwd", place / "out")) == "ENOTSUP"
    assert errno_when(lambda: os.link(place / "target", place / "hard")) == "EPERM"


def test_what_cannot_be_is_told_by_a_number_that_fits(place: Path, sc: SigmaClnt, top: Path) -> None:
    (place / "f").write_text("x")
    (place / "d").mkdir()
    (place / "d" / "g").write_text("y")
    assert errno_when(lambda: os.rmdir(place / "d")) == "ENOTEMPTY"
    assert errno_when(lambda: os.mkdir(place / "d")) == "EEXIST"
    assert errno_when(lambda: os.listdir(place / "f")) == "ENOTDIR"
    assert errno_when(lambda: os.open(place / "d", os.O_WRONLY)) == "EISDIR"
    assert errno_when(lambda: os.open(place / "f" / "x", os.O_RDONLY)) == "ENOTDIR"
    assert errno_when(lambda: os.open(place / "f", os.O_CREAT | os.O_EXCL)) == "EEXIST"
    assert errno_when(lambda: os.mkfifo(place / "p")) == "EPERM"
    assert errno_when(lambda: os.utime(place / "f", (1, 1))) == "ENOTSUP"
    assert errno_when(lambda: os.mkdir(place / ("n" * 256))) == "ENAMETOOLONG"
    if "s3" in place.parts:
        assert errno_when(lambda: os.open(place / "f", os.O_WRONLY | os.O_APPEND)) == "ENOTSUP"
    elif "ux" not in place.parts:
        assert errno_when(lambda: (place / "f").write_bytes(bytes(3_000_000))) == "EFBIG"
    else:
        sc.new_pipe(f"name/{(place / 'pipe').relative_to(top)}")
        assert errno_when(lambda: os.open(place / "pipe", os.O_RDONLY)) == "ENXIO"
        assert run("grep", "-r", "nothing", place, check=False).returncode == 1


# -- the end


def test_it_ends_by_a_signal_and_by_unmounting(site: Site, tmp_path: Path) -> None:
    for end in (signal.SIGINT, signal.SIGTERM, None):
        with mounted(site, tmp_path / "m", "name/ux/~local") as process:
            (tmp_path / "m" / "f").write_text("x")
            if end is None:
                unmount(tmp_path / "m")
            else:
                process.send_signal(end)
            said = process.communicate(timeout=WAIT_S)[1]
            assert process.returncode == 0, said
            assert not os.path.ismount(tmp_path / "m")
            assert os.listdir(tmp_path / "m") == []


def test_it_is_unmounted_after_a_crash(site: Site, tmp_path: Path) -> None:
    with mounted(site, tmp_path / "m") as process:
        process.kill()
        process.communicate(timeout=WAIT_S)
        wait_until(lambda: not os.path.ismount(tmp_path / "m") and os.listdir(tmp_path / "m") == [])
    with mounted(site, tmp_path / "m"):
        assert "ux" in os.listdir(tmp_path / "m")


def test_directories_that_cannot_be_mounted_on(site: Site, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "f").write_text("x")
    sigmaos = Path(sys.executable).with_name("sigmaos")
    for name, why in (("full", "not empty"), ("full/f", "not a directory"), ("none", "not found")):
        done = run(sigmaos, "--state-dir", site.state_file.parent, "mount", tmp_path / name, check=False)
        assert done.returncode == 1
        assert why in done.stderr
        assert "Traceback" not in done.stderr
    done = run(sigmaos, "--state-dir", site.state_file.parent, "mount", tmp_path, "name/none", check=False)
    assert (done.returncode, "not found" in done.stderr) == (1, True)
