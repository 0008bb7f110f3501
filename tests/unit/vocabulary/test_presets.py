"""The preset of tunables: which one is in force, and how it travels to parts and procs."""

from __future__ import annotations

import os

import msgspec
import pytest

from kernel.boot.request import BootRequest
from kernel.shell import KernelArgs
from sigmaos_ray import config, serr
from sigmaos_ray.config import LOCAL, REMOTE, ProcEnv


def test_the_environment_names_the_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIGMAOS_CONFIG", raising=False)
    assert (config.current(), config.current_name()) == (LOCAL, "local")
    monkeypatch.setenv("SIGMAOS_CONFIG", "remote")
    assert (config.current(), config.current_name()) == (REMOTE, "remote")


def test_what_travels_is_in_force_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGMAOS_CONFIG", "local")
    config.use("remote")
    assert config.current() is REMOTE
    assert os.environ["SIGMAOS_CONFIG"] == "remote"  # for children
    config.use("")
    assert config.current() is REMOTE


def test_a_preset_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGMAOS_CONFIG", "remote")
    assert config.preset("local") is LOCAL
    assert config.preset("") is REMOTE


def test_a_start_refuses_a_preset_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGMAOS_CONFIG", "fast")
    with pytest.raises(serr.Inval, match="local, remote"):
        BootRequest.from_environment("/nowhere")


def test_a_part_tells_other_servers_what_it_was_started_with() -> None:
    args = KernelArgs(kernel_id="sigma-1", host="10.0.0.1", machine="m", config="remote", state_dir="/s")
    env = args.proc_env("ux")
    assert (env.host, env.machine, env.config, env.state_dir) == ("10.0.0.1", "m", "remote", "/s")


def test_an_older_proc_env_is_read_and_a_newer_one_by_older_programs() -> None:
    assert ProcEnv.from_json('{"pid": "p"}') == ProcEnv(pid="p")

    class OlderProcEnv(msgspec.Struct):
        pid: str
        state_file: str = ""

    newer = ProcEnv(pid="p", machine="m", config="remote", state_dir="/s").to_json()
    assert msgspec.json.decode(newer, type=OlderProcEnv).pid == "p"
