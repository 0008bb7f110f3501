"""``sigmaos logs``: which files it means, and where it goes on when it follows."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import msgspec
import pytest
from fakeclnt import FakeClnt

from sigmaos_ray import serr
from sigmaos_ray.cli import logplaces
from sigmaos_ray.cli import logs as logs_verb
from sigmaos_ray.machine import file_identity
from sigmaos_ray.sigmap import Qid, Stat

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from outcome import Outcome


@pytest.fixture
def logs(state_dir: Path) -> Path:
    directory = state_dir / "logs"
    (directory / "procs").mkdir(parents=True)
    for name in ("boot", "named-sigma-00000001", "procs/example-12", "procs/example-123"):
        (directory / f"{name}.log").write_text(f"line of {name}\n")
    return directory


@pytest.mark.parametrize(
    ("which", "printed"),
    [
        ("boot", "line of boot\n"),
        ("named", "line of named-sigma-00000001\n"),
        ("example-12", "line of procs/example-12\n"),
    ],
)
def test_one_log(sigmaos: Callable[..., Outcome], logs: Path, which: str, printed: str) -> None:
    assert sigmaos("logs", which) == (0, printed, "")


def test_several_logs_have_headers(sigmaos: Callable[..., Outcome], logs: Path) -> None:
    out = sigmaos("logs", "example").out
    assert out.startswith("========== example-12 ==========\nline of procs/example-12\n========== example-123")
    assert sigmaos("logs").out.count("==========") == 8


@pytest.mark.parametrize("which", ["nosuch", "boo", "../boot", "*"])
def test_no_such_log(sigmaos: Callable[..., Outcome], logs: Path, which: str) -> None:
    sigmaos("logs", which).failed_with(1, "no such log")


def test_following_goes_on_where_it_was_and_sees_new_files(
    sigmaos: Callable[..., Outcome], logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def grow(_pause_s: float, passes: list[int] = []) -> None:  # noqa: B006  # the count of passes
        passes.append(1)
        if len(passes) > 1:
            raise KeyboardInterrupt
        with (logs / "procs/example-12.log").open("a") as file:
            file.write("more\n")
        (logs / "procs/example-7.log").write_text("new\n")

    monkeypatch.setattr(logs_verb.time, "sleep", grow)
    outcome = sigmaos("logs", "-f", "example")
    assert outcome.code == 130
    assert outcome.out.endswith("line of procs/example-123\nmore\nnew\n")


class Nodes(FakeClnt):
    """Kernel nodes and their logs: of this machine, of another one, and one that does not answer."""

    def __init__(self, own: Path) -> None:
        super().__init__()
        self.identities = {"sigma-here": 1 << 62 | file_identity(own.stat()), "sigma-there": 7}
        self.files = {"name": None, "name/schedd": None}
        for kernel_id in (*self.identities, "sigma-lost"):
            self.files[f"name/schedd/{kernel_id}"] = None
        for kernel_id in self.identities:
            for directory in ("logs", "logs/procs"):
                self.files[f"name/schedd/{kernel_id}/{directory}"] = None
        there = "name/schedd/sigma-there/logs"
        self.files |= {f"{there}/ux-there.log": b"ux there\n", f"{there}/procs/far-1.log": b"far\n"}
        self.files[f"{there}/procs/example-12.log"] = b"the other example-12\n"

    def stat(self, pathname: str) -> Stat:
        kernel_id = pathname.split("/")[2:3]
        if kernel_id == ["sigma-lost"] and pathname.endswith("logs"):
            raise serr.Unreachable(pathname)
        found = super().stat(pathname)
        if not pathname.endswith("logs"):
            return found
        return msgspec.structs.replace(found, qid=Qid.of(found.mode, 0, self.identities[kernel_id[0]]))


@pytest.fixture
def nodes(logs: Path, monkeypatch: pytest.MonkeyPatch) -> Nodes:
    fake = Nodes(logs)
    monkeypatch.setattr(logplaces, "client", lambda: fake)
    return fake


def test_logs_of_other_hosts(sigmaos: Callable[..., Outcome], nodes: Nodes) -> None:
    """Those of this machine once, though its node shows them, too; a node that is lost is said."""
    outcome = sigmaos("logs", "far")
    assert (outcome.code, outcome.out) == (0, "far\n")
    assert "sigma-lost" in outcome.err
    there = "name/schedd/sigma-here/logs"
    nodes.files |= {f"{there}/boot.log": b"line of boot\n", f"{there}/procs/example-12.log": b"the same\n"}
    assert sigmaos("logs").out.count("========== boot ==========") == 1
    assert sigmaos("logs", "boot").out == "line of boot\n"
    assert sigmaos("logs", "ux-there").out == "ux there\n"


def test_a_pid_on_two_hosts(sigmaos: Callable[..., Outcome], nodes: Nodes) -> None:
    out = sigmaos("logs", "example-12").out
    assert out.count("========== example-12 ==========") == 2
    assert "line of procs/example-12" in out
    assert "the other example-12" in out


def test_from_outside_only_the_nodes_are_asked(
    sigmaos: Callable[..., Outcome], nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies on this disk is another instance's."""
    monkeypatch.setenv("SIGMAOS_NAMED", "192.0.2.1:7000")
    outcome = sigmaos("logs", "boot")
    assert outcome.code == 1
    assert "no such log" in outcome.err
    assert sigmaos("logs", "far-1").out == "far\n"


def test_following_a_log_of_another_host(
    sigmaos: Callable[..., Outcome], nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is new is asked for, and nothing twice."""
    far = "name/schedd/sigma-there/logs/procs/far-1.log"
    contents = iter([b"far\nfurther\n", b"far\nfurther\n", b"another\n"])

    def grow(_pause_s: float) -> None:
        text = next(contents, None)
        if text is None:
            raise KeyboardInterrupt
        nodes.files[far] = text

    monkeypatch.setattr(logs_verb.time, "sleep", grow)
    outcome = sigmaos("logs", "-f", "far-1")
    assert outcome.out == "far\nfurther\nanother\n"
    assert [offset for pathname, offset in nodes.read if pathname == far] == [0, 4, 0]


def test_logs_are_read_in_parts(sigmaos: Callable[..., Outcome], logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A letter may lie on the border of two."""
    monkeypatch.setattr(logplaces, "PART_BYTES", 1)
    (logs / "boot.log").write_text("äö\n")
    assert sigmaos("logs", "boot").out == "äö\n"


def test_logs_are_merged_by_time(sigmaos: Callable[..., Outcome], logs: Path) -> None:
    """Each line with the name of its log; one without a time comes behind the one before it."""
    for file in logs.rglob("*.log"):
        file.unlink()
    (logs / "boot.log").write_text("10:00:00.5 boot A one\n10:00:02.5 boot A three\nmore of three\n")
    (logs / "ux.log").write_text("10:00:01.5 ux A two\n10:00:03.5 ux A four")
    day = time.strftime("%Y-%m-%d")
    (logs / "procs/example-12.log").write_text(f"== example-12 example os_pid=7 {day}T10:00:02\nprinted\n")
    os.utime(logs / "boot.log", (0, time.mktime(time.strptime(f"{day} 10:00:03", "%Y-%m-%d %H:%M:%S"))))
    os.utime(logs / "ux.log", (0, time.mktime(time.strptime(f"{day} 10:00:04", "%Y-%m-%d %H:%M:%S"))))
    lines = sigmaos("logs", "--merge").out.splitlines()
    assert [line.rpartition(" ")[2] for line in lines] == [
        "one",
        "two",
        f"{day}T10:00:02",
        "printed",
        "three",
        "three",
        "four",
    ]
    assert [line.partition(": ")[0] for line in lines] == ["boot", "ux", *["example-12"] * 2, "boot", "boot", "ux"]
    later = sigmaos("logs", "--merge", "--since", f"{day} 10:00:02.2").out.splitlines()
    assert later == lines[4:]


def test_only_what_is_newer(sigmaos: Callable[..., Outcome], logs: Path) -> None:
    os.utime(logs / "boot.log", (0, time.time() - 7200))
    assert "boot" not in sigmaos("logs", "--since", "1h").out
    assert "line of boot" in sigmaos("logs", "--since", "3h").out
    sigmaos("logs", "--since", "yesterday").failed_with(1, "--since takes 90s")


def test_a_letter_that_is_written_in_two_parts(
    sigmaos: Callable[..., Outcome], logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is one letter, also while the log is followed and lines are merged."""
    for options in ([], ["--merge"]):
        (logs / "procs/example-7.log").write_bytes("snow \u2603".encode()[:-1])

        def grow(_pause_s: float, rest: list[bytes] = ["\u2603\n".encode()[-2:], b""]) -> None:  # noqa: B006  # what comes
            if not rest:
                rest += ["\u2603\n".encode()[-2:], b""]
                raise KeyboardInterrupt
            with (logs / "procs/example-7.log").open("ab") as file:
                file.write(rest.pop(0))

        monkeypatch.setattr(logs_verb.time, "sleep", grow)
        outcome = sigmaos("logs", "-f", *options, "example-7")
        assert outcome.out.endswith("snow \u2603\n")
        assert "\ufffd" not in outcome.out
