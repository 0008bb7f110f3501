"""What must not be seen is not: planted secrets are looked for wherever an instance writes or shows something."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import psutil
from command import Sigmaos

from sigmaos_ray import Proc, SigmaClnt, serr
from sigmaos_ray.auth import files
from sigmaos_ray.instance import find_proc_env, s3_secrets
from sigmaos_ray.testing.tstate import clnt_env

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from sigmaos_ray.testing import Tstate

_READ_BYTES_MAX = 64 << 20


def uses_s3(argv: list[str]) -> str:
    """A proc that shows its secrets to s3, fails there, and crashes as badly as Python can."""
    with SigmaClnt() as sc:
        sc.put_file(f"name/s3/~any/{argv[0]}/f", b"x")
        try:
            sc.get_file("name/s3/~any/nowhere/f")
        except serr.SigmaError as error:
            print(error)
        print(sc.proc_env.pid, find_proc_env().program)
    raise RuntimeError(f"crashed in {argv[0]}")


def test_planted_secrets_are_nowhere_to_be_seen(
    tstate_all: Tstate, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key, secret = f"AKIA{secrets.token_hex(8)}", secrets.token_hex(20)
    bucket = f"planted-{secrets.token_hex(4)}"
    monkeypatch.setenv("SIGMAOS_S3_KEY", key)
    monkeypatch.setenv("SIGMAOS_S3_SECRET", secret)
    state_dir = Path(tstate_all.instance.state_dir)
    realm = files.file_of(state_dir, tstate_all.instance.realm)
    token = files.read(realm).token
    tstate_all.sc.mkdir(f"name/s3/~any/{bucket}")
    planted_env = clnt_env(tstate_all.instance)
    with SigmaClnt(msgspec.structs.replace(planted_env, secrets=s3_secrets())) as sc:
        proc = Proc(uses_s3, [bucket])
        sc.spawn(proc)
        assert sc.wait_exit(proc.pid).is_err()
        shown = [str(sc.procs()), sc.get_file("name/.statsd").decode()]
        node = tstate_all.instance.kernel_nodes[0].id
        shown += [sc.get_file(f"name/{service}/{node}/.statsd").decode() for service in ("s3", "schedd", "ux", "db")]
        sc.remove(f"name/s3/~any/{bucket}/f")
    command = Sigmaos(state_dir, capsys)
    for arguments in (["status"], ["status", "--json"], ["ps", "-a", "--json"], ["doctor", "--network", "--json"]):
        done = command(*arguments)
        shown.append(done.stdout + done.stderr)
    # The words of a signature are enough to know a token by.
    for word in (key, secret, token.rpartition(".")[2]):
        assert not [text for text in shown if word in text]
        assert not [str(file) for file in _written(state_dir, tstate_all.instance.ray_temp_dir) if _holds(file, word)]
        assert not list(_processes_that_show(word))


def _written(state_dir: Path, ray_temp_dir: str) -> Iterator[Path]:
    """All files that the instance wrote but for those that are to hold secrets, and etcd's and the proxies' data."""
    for top in (state_dir / "logs", state_dir / "instance.json", *([Path(ray_temp_dir)] if ray_temp_dir else [])):
        yield from (file for file in ([top] if top.is_file() else top.rglob("*")) if file.is_file())


def _holds(file: Path, word: str) -> bool:
    try:
        with file.open("rb") as opened:
            return word.encode() in opened.read(_READ_BYTES_MAX)
    except OSError:  # it is gone
        return False


def _processes_that_show(word: str) -> Iterator[str]:
    """To others: in a command line, or in the environment of another process than this one."""
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
            environ = "" if process.pid == os.getpid() else str(process.environ())
        except psutil.Error:
            continue
        if word in line or word in environ:
            yield f"{process.pid} {line}"


def test_the_way_that_the_search_goes_finds_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a").write_text("the word")
    assert [file for file in _written(tmp_path, "") if _holds(file, "word")]
    child = psutil.Popen(["sleep", "60"], env={"PATH": os.environ["PATH"], "PLANTED": "the-planted-word"})
    try:
        assert list(_processes_that_show("the-planted-word"))
    finally:
        child.kill()
        child.wait()


def test_whom_each_address_lets_in_is_told(tstate_all: Tstate, capsys: pytest.CaptureFixture[str]) -> None:
    done = Sigmaos(Path(tstate_all.instance.state_dir), capsys)("doctor", "--network", "--json")
    told = {row["address"]: row for row in json.loads(done.stdout)}
    assert done.returncode == 0, "nothing is open to the network"
    for node in tstate_all.instance.kernel_nodes:
        for name, info in node.services.items():
            row = told[f"{info.host}:{info.port}"]
            assert row["who"].startswith(name)
            assert (row["what"], row["takes"]) == ("sigmap, gRPC", "credentials of a realm")
