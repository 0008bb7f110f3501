"""Procs whose program is an executable file, named by its pathname: ``name/ux/~local/bin/x``.

The file is fetched once per node and version, and runs as a child of the process that runs the proc: its output goes
to the proc's log, and how it ends becomes the status. An eviction is SIGTERM to it and its descendants; with a grace
period the schedd ends what is left. It finds its ProcEnv in its environment, and may report for itself.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from sigmaos_ray import config, loopthread, serr
from sigmaos_ray.proc import Status
from sigmaos_ray.runner import proclog
from sigmaos_ray.sigmaclnt import SigmaClnt

if TYPE_CHECKING:
    from sigmaos_ray.loopthread import Call
    from sigmaos_ray.sigmap import Stat

_DIR_NAME: Final = "executables"


def main(argv: list[str]) -> Status:
    """Runs ``argv``: a pathname, and the arguments."""
    with SigmaClnt() as sc:
        try:
            file = fetch(sc, argv[0], _cache_dir(sc.proc_env.state_file))
        except serr.SigmaError as error:
            return _cannot(argv[0], str(error))
        try:
            return run(sc, file, argv)[0]
        except OSError as error:  # not an executable of this system
            return _cannot(argv[0], f"{error.strerror}")


def _cannot(program: str, why: str) -> Status:
    """Of a program that there is not, or that this machine cannot run."""
    words = f"program {program!r} cannot be run: {why}"
    print(words, file=sys.stderr)
    return Status.err(words)


# -- fetching


def _cache_dir(state_file: str) -> Path:
    """This node's. Below the instance's state directory if there is one on this host."""
    state_dir = Path(state_file).parent if state_file else None
    if state_dir is not None and state_dir.is_dir():
        directory = state_dir / _DIR_NAME
    else:
        directory = Path(tempfile.gettempdir()) / f"sigmaos-{os.getuid()}-{_DIR_NAME}"
    # Everybody may write to the system's directory for temporary files: who made this name first need not have been us,
    # and what lies in it is run.
    directory.mkdir(mode=0o700, exist_ok=True)
    if directory.stat().st_uid != os.getuid():
        raise serr.Perm(str(directory), "the cache of executables belongs to somebody else")
    return directory


def fetch(sc: SigmaClnt, pn: str, directory: Path) -> Path:
    """The local copy of an executable's present version. Version if it changes all the time; NotFound, IsDir."""
    # Once, before all tries: ``~any`` could mean another server's file each time.
    concrete = sc.resolve_unions(pn)
    for _ in range(config.current().workers.fetch_tries_max):
        stat = _target(sc, concrete)
        if stat.is_dir:
            raise serr.IsDir(pn, "a directory cannot be run")
        copy = directory / _key(concrete, stat)
        if copy.exists():
            # By this, ``_prune`` knows what was used last.
            os.utime(copy)
            return copy
        # Workers of a node often begin with the same executable at once: one fetches it, the others wait.
        with (directory / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if copy.exists():
                return copy
            if _download(sc, concrete, copy):
                _prune(directory)
                return copy
    raise serr.Version(pn, "it changed each time while it was fetched")


def _target(sc: SigmaClnt, pn: str) -> Stat:
    stat = sc.stat(pn)
    return sc.stat(f"{pn}/") if stat.is_symlink else stat


def _key(pn: str, stat: Stat) -> str:
    """What the copy of one version of a file is called."""
    version = f"{pn}\0{stat.qid.path:x}\0{stat.qid.version}\0{stat.length}\0{stat.mtime}"
    return f"{hashlib.sha256(version.encode()).hexdigest()[:32]}-{os.path.basename(pn)}"


def _download(sc: SigmaClnt, pn: str, copy: Path) -> bool:
    """False if the file is no longer what the copy is called after; then there is no copy."""
    fd, part = tempfile.mkstemp(prefix=".part-", dir=copy.parent)
    try:
        with os.fdopen(fd, "wb") as file, sc.open_reader(pn) as reader:
            shutil.copyfileobj(reader, file, 1 << 20)
        # It may have been replaced while it was read: a copy of two halves must never be run.
        if _key(pn, _target(sc, pn)) != copy.name:
            return False
        os.chmod(part, 0o500)
        os.rename(part, copy)
        return True
    finally:
        Path(part).unlink(missing_ok=True)


def _prune(directory: Path) -> None:
    """Removes the files that were not used for longest. One that runs goes on without its name."""
    # Hidden ones are the lock, and copies that are under way.
    files = sorted((file for file in directory.iterdir() if file.name[0] != "."), key=lambda file: file.stat().st_mtime)
    for file in files[: -config.current().workers.executables_kept_max]:
        file.unlink(missing_ok=True)


# -- running


def run(sc: SigmaClnt, file: Path, argv: list[str], cwd: str | None = None) -> tuple[Status, int]:
    """Runs a file until it ends: how, and its exit code, or the negative number of a signal. An eviction is SIGTERM to
    it and its descendants. Whoever waits for the proc hears that it started. OSError for what cannot be run."""
    child = subprocess.Popen(argv, executable=file, stdin=subprocess.DEVNULL, cwd=cwd)
    evicted = False

    def evict(call: Call[None]) -> None:
        nonlocal evicted
        # Called when the wait is cancelled below, or fails, as well: neither is an eviction.
        evicted = call.succeeded()
        if evicted:
            _terminate(child.pid)

    # Before ``started``: whoever waits for that may evict at once, and the child is to hear of it.
    eviction = loopthread.shared().start(sc.asynchronous.wait_evict())
    eviction.add_done_callback(lambda: evict(eviction))
    try:
        sc.started()
        code = child.wait()
    finally:
        eviction.cancel()
    return _of_code(code, evicted), code


def _terminate(os_pid: int) -> None:
    """SIGTERM for a process and all that it started."""
    try:
        process = psutil.Process(os_pid)
        # Listed before the first of them is told: below a process that has ended nobody is found any more.
        tree = [*process.children(recursive=True), process]
    except psutil.NoSuchProcess:
        return
    for process in tree:
        try:
            process.terminate()
        except psutil.NoSuchProcess:
            continue


def _of_code(code: int, evicted: bool) -> Status:
    # A program that heeds SIGTERM ends well or dies of it; a shell tells that as 128 and the signal's number.
    if evicted and code in (0, -signal.SIGTERM, 128 + signal.SIGTERM):
        return Status.evicted()
    if code < 0:
        return Status.crash(proclog.signal_words(-code))
    return Status.crash(proclog.exit_words(code)) if code else Status.ok()
