"""Clients on a machine without the instance's state file: all that they are told is ``SIGMAOS_NAMED``, and what
they are to show."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING

import pytest
from command import Sigmaos

from sigmaos_ray import Proc, SigmaClnt, serr
from sigmaos_ray.auth.files import file_of
from sigmaos_ray.instance import outside_proc_env

if TYPE_CHECKING:
    from pathlib import Path

    from sigmaos_ray.testing import Tstate


@pytest.fixture
def elsewhere(
    tstate_all: Tstate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Sigmaos:
    """The command on such a machine. The first of its two addresses is nobody's."""
    [address] = tstate_all.sc.get_named_endpoint().addrs
    monkeypatch.setenv("SIGMAOS_NAMED", f"127.0.0.1:1,{address}")
    monkeypatch.setenv("SIGMAOS_CREDENTIALS", str(file_of(tstate_all.instance.state_dir, tstate_all.instance.realm)))
    monkeypatch.setenv("SIGMAOS_STATE_DIR", str(tmp_path / "nowhere"))
    return Sigmaos(tmp_path / "nowhere", capsys)


def out(elsewhere: Sigmaos, *arguments: str) -> str:
    result = elsewhere(*arguments)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def test_each_command_works(tstate_all: Tstate, elsewhere: Sigmaos) -> None:
    """N-6: what others read from the state file comes through the namespace."""
    tstate_all.sc.put_file("name/elsewhere-text", b"the end")
    assert "ux/" in out(elsewhere, "ls", "name/").split()
    assert "OK" in out(elsewhere, "spawn", "--wait", "example", "name/elsewhere-text")
    out(elsewhere, "rm", "name/elsewhere-text")
    assert json.loads(out(elsewhere, "top", "--json"))
    assert out(elsewhere, "kv", "ls") == ""
    assert out(elsewhere, "mr", "ls")
    assert out(elsewhere, "realm", "ls", "--json")
    assert "named" in out(elsewhere, "doctor")


def test_status_is_what_the_instance_says(tstate_all: Tstate, elsewhere: Sigmaos) -> None:
    there = json.loads(out(elsewhere, "status", "--json"))
    assert there == json.loads(tstate_all.instance.to_json())
    assert there["named"]["addrs"][0] in out(elsewhere, "status")


def test_its_procs_and_their_ends(elsewhere: Sigmaos) -> None:
    """X-33: a client without a kernel node stays with one schedd."""
    with SigmaClnt(outside_proc_env()) as sc:
        assert sc.kernel_id == ""
        pids = [sc.spawn(Proc(len, pid=f"elsewhere-{number}-{secrets.token_hex(4)}")) for number in range(3)]
        assert all(sc.wait_exit(pid).is_ok() for pid in pids)
        with pytest.raises(serr.NotFound):
            sc.wait_exit(pids[0])


def test_local_is_this_machine(elsewhere: Sigmaos, tstate_all: Tstate) -> None:
    """N-9."""
    here = tstate_all.instance.kernel_nodes[0].id
    with SigmaClnt(outside_proc_env()) as sc:
        assert sc.resolve_mounts("name/ux/~local/x") == f"name/ux/{here}/x"


def test_the_demo_on_the_instance_that_runs(elsewhere: Sigmaos, tstate_all: Tstate, tmp_path: Path) -> None:
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "one.txt").write_text("the cat and the dog")
    before = [bucket["Name"] for bucket in tstate_all.s3.client.list_buckets()["Buckets"]]
    said = out(elsewhere, "demo", "--here", "--input", str(tmp_path / "books"))
    assert "on the running instance" in said
    assert said.splitlines()[-1].split()[:3] == ["total", "5", "2"]
    assert [bucket["Name"] for bucket in tstate_all.s3.client.list_buckets()["Buckets"]] == before
    assert "yours goes on anyhow" in elsewhere("demo", "--here", "--keep").stderr
