"""What hosts of ``sigmaos_ray.testing.hosts`` share and do not share: all other tests over several hosts rest on it."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray.testing.hosts import Host, Hosts

if TYPE_CHECKING:
    from collections.abc import Iterator

LISTEN = """exec python3 -c '
import socket
server = socket.create_server(("0.0.0.0", 7000))
print("listens", flush=True)
while True:
    server.accept()[0].sendall(b"here")
'"""
CONNECT = """python3 -c '
import socket
try:
    print(socket.create_connection(("one", 7000), timeout=1).recv(9).decode())
except OSError as error:
    print(type(error).__name__)
'"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    with Hosts(["one", "two"], directory=tmp_path_factory.mktemp("pair"), network="10.78.1") as hosts:
        yield hosts


@pytest.fixture
def listener(pair: Hosts) -> Iterator[None]:
    """Something that answers on the first host."""
    server = pair["one"].start(LISTEN, stdout=subprocess.PIPE)
    assert server.stdout is not None
    assert server.stdout.readline() == "listens\n"
    yield
    pair["one"].run("pkill -f create_server", check=False)
    server.wait(10)
    server.stdout.close()


def test_a_host_has_names_files_and_users_of_its_own(pair: Hosts) -> None:
    one, two = pair["one"], pair["two"]
    assert one.run("hostname").stdout == "one\n"
    assert one.run("whoami").stdout == "ray\n"
    home = one.run("pwd").stdout.strip()
    one.run("touch /tmp/mine ~/mine")
    assert two.run("ls /tmp ~").stdout.split() == [f"{home}:", "/tmp:"]
    assert socket.gethostname() not in ("one", "two")


def test_process_ids_are_a_hosts_own(pair: Hosts) -> None:
    sleeper = pair["one"].start("exec sleep 60")
    try:
        number = _wait_number(pair["one"], "sleep 60")
        assert number != sleeper.pid
        assert "sleep 60" not in pair["two"].processes().values()
    finally:
        pair["one"].run("pkill sleep")
        sleeper.wait(10)


def _wait_number(host: Host, words: str) -> int:
    deadline_s = time.monotonic() + 10
    while time.monotonic() < deadline_s:
        numbers = [number for number, line in host.processes().items() if line == words]
        if numbers:
            return numbers[0]
    raise AssertionError(f"no {words} among {host.processes()}")


@pytest.mark.usefixtures("listener")
def test_a_cut_is_silent_and_heals(pair: Hosts) -> None:
    two = pair["two"]
    assert two.run(CONNECT).stdout == "here\n"
    pair["one"].cut()
    try:
        assert two.run(CONNECT).stdout == "TimeoutError\n"  # nobody says that nobody is there
    finally:
        pair["one"].heal()
    assert two.run(CONNECT).stdout == "here\n"


def test_a_crash_ends_all_processes_and_keeps_the_files(pair: Hosts) -> None:
    two = pair["two"]
    two.run("touch ~/kept")
    sleeper = two.start("exec sleep 60")
    two.crash()
    sleeper.wait(10)
    assert not two.is_up
    two.boot()
    assert two.processes() == {}
    assert two.run("ls ~").stdout == "kept\n"


def test_who_has_the_key_logs_in(pair: Hosts) -> None:
    refused = pair["one"].run("ssh -o StrictHostKeyChecking=no -o BatchMode=yes two hostname", check=False)
    assert refused.returncode != 0
    pair["one"].give_key()
    assert pair["one"].run("ssh two hostname").stdout == "two\n"


def test_nothing_is_left(tmp_path: Path) -> None:
    directory = tmp_path / "hosts"
    directory.mkdir()
    hosts = Hosts(["only"], directory=directory, network="10.78.2")
    with contextlib.suppress(KeyError), hosts:
        sleeper = hosts["only"].start("exec sleep 60")
        raise KeyError
    assert sleeper.wait(10) != 0
    assert not directory.exists()
    namespaces = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    assert hosts.namespace("only") not in namespaces
    assert hosts.namespace("switch") not in namespaces


MAKER = """
import os, sys, time
from pathlib import Path
from sigmaos_ray.testing.hosts import Hosts

with Hosts(["one"], directory=Path(sys.argv[1]), network="10.78.2") as hosts:
    hosts["one"].start("exec sleep 600")
    while not any("sleep" in words for words in hosts["one"].processes().values()):
        time.sleep(0.05)
    print(os.readlink(f"/proc/{hosts['one']._first_pid}/ns/pid"), flush=True)
    os.kill(os.getpid(), 9)
"""


def test_a_maker_that_is_killed_takes_its_hosts_along(tmp_path: Path) -> None:
    for name in ("hosts", "others"):
        (tmp_path / name).mkdir()
    maker = subprocess.run([sys.executable, "-c", MAKER, str(tmp_path / "hosts")], capture_output=True, text=True)
    assert maker.returncode == -signal.SIGKILL
    deadline_s = time.monotonic() + 30
    while left := [pid for pid in Path("/proc").glob("[0-9]*") if _processes_of(pid) == maker.stdout.strip()]:
        assert time.monotonic() < deadline_s, left
        time.sleep(0.05)
    with Hosts(["other"], directory=tmp_path / "others", network="10.78.2"):
        listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert all(Path(f"/proc/{number}").exists() for number in re.findall(r"^sr(\d+)-", listed, re.MULTILINE))


def _processes_of(process: Path) -> str:
    """The namespace of processes that it is in."""
    try:
        return str((process / "ns" / "pid").readlink())
    except OSError:
        return ""
