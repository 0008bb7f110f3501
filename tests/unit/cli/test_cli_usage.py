"""Wrong calls, and calls without an instance: one line and an exit code, whatever is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import extras
from sigmaos_ray.cli import system
from sigmaos_ray.instance import STATE_FILE_NAME, Instance
from sigmaos_ray.machine import machine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from outcome import Outcome


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bogus"], "No such command 'bogus'"),
        (["ls", "--nope"], "No such option: --nope"),
        (["ls", "a", "b"], "unexpected extra argument"),
        (["spawn"], "Missing argument 'PROGRAM'"),
        (["put", "x"], "Missing argument 'PATH'"),
        (["start", "--num-cpus", "none"], "'--num-cpus'"),
        (["start", "--named-count", "0"], "'--named-count'"),
        (["--realm"], "'--realm' requires an argument"),
        (["spawn", "--env", "novalue", "example"], "NAME=VALUE"),
        (["debug"], "--list"),
    ],
)
def test_a_wrong_call_is_told_in_one_line(sigmaos: Callable[..., Outcome], arguments: list[str], words: str) -> None:
    outcome = sigmaos(*arguments)
    outcome.failed_with(2, words)
    assert "--help`)" in outcome.err


def test_no_command_at_all_shows_the_help(sigmaos: Callable[..., Outcome]) -> None:
    outcome = sigmaos()
    outcome.failed_with(2, "a command is missing")
    assert "Usage" in outcome.out


@pytest.mark.parametrize("arguments", [["status"], ["ls"], ["cat", "name/f"], ["ps"], ["spawn", "example"]])
def test_without_an_instance(sigmaos: Callable[..., Outcome], arguments: list[str]) -> None:
    sigmaos(*arguments).failed_with(1, "no running instance")


BAD = os.fsdecode(b"bad\xff")


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (1, ["spawn", "example", BAD]),
        (1, ["spawn", "--env", f"A={BAD}", "example"]),
        (1, ["spawn", "--pid", BAD, "example"]),
        (1, ["--state-dir", f"/tmp/{BAD}", "status"]),
        (2, [BAD]),
        (2, ["ls", f"--{BAD}"]),
    ],
)
def test_text_that_is_no_utf8_is_told_in_one_line(
    sigmaos: Callable[..., Outcome], code: int, arguments: list[str]
) -> None:
    sigmaos(*arguments).failed_with(code, "")


def test_stop_without_an_instance_is_no_error(sigmaos: Callable[..., Outcome], state_dir: Path) -> None:
    assert sigmaos("stop") == (0, "no instance is running\n", "")
    assert not state_dir.exists()


@pytest.mark.parametrize("arguments", [["status"], ["ls"]])
def test_a_crashed_instance_is_told_from_none(
    sigmaos: Callable[..., Outcome], state_dir: Path, arguments: list[str]
) -> None:
    state_dir.mkdir()
    # This process lives, but is not the one that the file means.
    gone = Instance(
        realm="r", state_dir=str(state_dir), boot_pid=os.getpid(), boot_machine=machine(), boot_started_ticks=1
    )
    (state_dir / STATE_FILE_NAME).write_bytes(gone.to_json())
    sigmaos(*arguments).failed_with(1, "the instance has crashed")


def test_a_state_file_of_something_else(sigmaos: Callable[..., Outcome], state_dir: Path) -> None:
    state_dir.mkdir()
    (state_dir / STATE_FILE_NAME).write_text("garbage")
    sigmaos("status").failed_with(1, "malformed")


def test_debug_shows_the_traceback(sigmaos: Callable[..., Outcome]) -> None:
    outcome = sigmaos("--debug", "status")
    assert outcome.code == 1
    assert "Traceback" in outcome.err


def test_an_unknown_service(sigmaos: Callable[..., Outcome], state_dir: Path) -> None:
    sigmaos("start", "--services", "named,nosuch").failed_with(1, "nosuch")
    assert not state_dir.exists()


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (PermissionError(13, "Permission denied", "/x"), 1, "/x: Permission denied"),
        (ZeroDivisionError("a defect\nof two lines"), 1, "ZeroDivisionError: a defect of two lines"),
    ],
)
def test_whatever_goes_wrong_is_one_line(
    sigmaos: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, words: str
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(system.context, "instance", fail)
    sigmaos("status").failed_with(code, words)


def test_ctrl_c_is_an_exit_code_and_no_word(sigmaos: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(system.context, "instance", fail)
    assert sigmaos("status") == (130, "", "")


def test_a_reader_that_went_away_is_no_error(sigmaos: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise BrokenPipeError

    monkeypatch.setattr(system.context, "instance", fail)
    assert sigmaos("status") == (0, "", "")


def test_file_commands_need_neither_ray_nor_boto3() -> None:
    """Their start would take a second longer."""
    heavy = "[name for name in ('ray', 'boto3', 'rich') if name in sys.modules]"
    code = f"import sys, sigmaos_ray, sigmaos_ray.cli.main; print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_what_is_not_installed_is_one_line(
    sigmaos: Callable[..., Outcome], state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "_is_installed", lambda module: module not in ("ray", "boto3"))
    sigmaos("start").failed_with(1, "sigmaos start needs Ray, boto3: pip install 'sigmaos-ray[ray,s3]'")
    assert "not installed: ray, s3: pip install 'sigmaos-ray[ray,s3]'" in sigmaos("doctor").out
