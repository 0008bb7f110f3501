"""Several hosts on one machine: each with addresses, process ids, files and users of its own.

A host is a set of Linux namespaces (network, mount, UTS, IPC and process ids) whose first process is a reaper that
also runs an ssh server. Two nodes on loopback share what two machines do not: process ids, paths, ``/tmp``, host names,
and an address on which everybody's servers answer. What works between hosts of this kind works between machines, as far
as names, addresses, files and silence go.

    with Hosts(["head", "worker", "desk"]) as hosts:
        hosts["head"].run("hostname")
        hosts["worker"].cut()

Needs root, and Debian's ``iproute2``, ``openssh-server`` and ``rsync``; ``why_not()`` says what is missing. Nothing of
it reaches the outside: the network ends at a bridge that has no way out.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

_TOOLS: Final = ("ip", "unshare", "nsenter", "setpriv", "mount", "sshd", "ssh-keygen", "rsync")
_USER: Final = "ray"
_USER_ID: Final = 2000
_SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OWN_PARTS: Final = ("etc", "root", "home", "opt", "tmp")
"""Folders of which each host has its own. ``/tmp`` last: the hosts' own files lie below the real one."""
_UP_S: Final = 10.0
_POLL_S: Final = 0.02

_SSHD_CONFIG: Final = """\
ListenAddress {address}
HostKey /etc/ssh/ssh_host_ed25519_key
PidFile /run/sshd.pid
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PrintMotd no
MaxStartups 64
MaxSessions 64
Subsystem sftp internal-sftp
"""

_CLIENT_CONFIG: Final = "StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nLogLevel ERROR\n"

_FIRST_PROCESS: Final = """
import os, signal, subprocess, time
subprocess.run(["/usr/sbin/sshd"], check=True)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
while True:
    try:
        os.wait()
    except ChildProcessError:
        time.sleep(0.2)
"""
"""Orphans of a host become its children, and must be waited for: a Ray that was stopped would stay as zombies."""


def why_not() -> str | None:
    """What keeps this machine from having such hosts; None if nothing does."""
    if sys.platform != "linux":
        return "hosts are made of Linux namespaces"
    if os.geteuid() != 0:
        return "hosts are made of namespaces, which takes root"
    missing = [tool for tool in _TOOLS if shutil.which(tool, path=_SYSTEM_PATH) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (apt-get install iproute2 openssh-server rsync)"
    allowed = subprocess.run(
        ["unshare", "--net", "--pid", "--mount", "--fork", "true"], capture_output=True, check=False
    )
    return None if allowed.returncode == 0 else f"unshare: {allowed.stderr.decode().strip()}"


class Host:
    """One host. Made by ``Hosts``, which also ends it."""

    def __init__(self, hosts: Hosts, name: str, address: str) -> None:
        self.name = name
        self.address = address
        self._hosts = hosts
        self._root = hosts.directory / name
        self._shell: subprocess.Popen[bytes] | None = None
        """``unshare``, outside: it ends when the host does."""
        self._first_pid = 0
        """The host's first process, as the machine numbers it."""

    @property
    def home(self) -> Path:
        """The plain user's home as the machine sees it, to put files there and to look at them."""
        return self._root / "home" / _USER

    @property
    def is_up(self) -> bool:
        """False before it is booted, and after a crash."""
        return self._first_pid != 0

    # -- commands

    def run(
        self,
        command: str | Sequence[str],
        *,
        timeout_s: float = 60.0,
        check: bool = True,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        as_root: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command on the host, as its plain user in his home, from what a login shell sets; blocks for its end.

        A string is read by bash. With ``check`` an exit code other than 0 raises AssertionError with what it printed.
        After ``timeout_s`` it is killed and subprocess.TimeoutExpired raised.
        """
        result = subprocess.run(
            self._entered(command, env, as_root=as_root),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if check and result.returncode != 0:
            output = f"{result.stdout}{result.stderr}"
            raise AssertionError(f"{self.name}: {command}: exit code {result.returncode}\n{output}")
        return result

    def start(
        self, command: str | Sequence[str], *, env: Mapping[str, str] | None = None, **options: Any
    ) -> subprocess.Popen[str]:
        """Starts a command as ``run`` does, and returns at once; ``options`` are Popen's. The caller ends it."""
        return subprocess.Popen(self._entered(command, env, as_root=False), text=True, **options)

    def _entered(self, command: str | Sequence[str], env: Mapping[str, str] | None, *, as_root: bool) -> list[str]:
        if not self.is_up:
            raise AssertionError(f"{self.name} is down")
        words = command if isinstance(command, str) else shlex.join(command)
        enter = ["nsenter", "-t", str(self._first_pid), "-m", "-u", "-i", "-n", "-p", "--wd=/", "--"]
        who = [] if as_root else ["setpriv", "--reuid", str(_USER_ID), "--regid", str(_USER_ID), "--clear-groups"]
        user, home = ("root", "/root") if as_root else (_USER, f"/home/{_USER}")
        clean = {
            "HOME": home,
            "USER": user,
            "LOGNAME": user,
            "SHELL": "/bin/bash",
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "PATH": f"{home}/sigmaos-venv/bin:/usr/local/bin:/usr/bin:/bin",
            **(env or {}),
        }
        settings = [f"{name}={value}" for name, value in clean.items()]
        return [*enter, *who, "env", "-i", *settings, "bash", "-c", f"cd; {words}"]

    def processes(self) -> dict[int, str]:
        """What runs there: process id on the host -> command line, without the host's own first process and sshd."""
        listing = subprocess.run(
            ["nsenter", "-t", str(self._first_pid), "-m", "-p", "ps", "-eo", "pid=,args="],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        rows = (line.strip().partition(" ") for line in listing.splitlines())
        own = ("sshd", "/usr/sbin/sshd", "ps -eo")
        return {int(pid): args.strip() for pid, _, args in rows if int(pid) != 1 and not args.strip().startswith(own)}

    # -- faults

    def cut(self) -> None:
        """Takes the cable out: from now on nothing arrives and nothing leaves, and nobody is told."""
        self._hosts.link(self.name, "down")

    def heal(self) -> None:
        """Puts the cable in again."""
        self._hosts.link(self.name, "up")

    def crash(self) -> None:
        """Power off: all processes end at once; its files stay. Others may notice by their connections' resets."""
        if self._shell is None:
            return
        if self._first_pid:
            os.kill(self._first_pid, signal.SIGKILL)
        self._shell.wait(_UP_S)
        self._shell, self._first_pid = None, 0

    def boot(self) -> None:
        """Power on. Blocks until the host takes ssh connections."""
        # A maker that is killed takes its hosts along.
        command = ["setpriv", "--pdeathsig", "KILL", "ip", "netns", "exec", self._hosts.namespace(self.name)]
        command += ["unshare", "--mount", "--uts", "--ipc"]
        command += ["--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]
        with (self._root / "boot.log").open("ab") as log:
            self._shell = subprocess.Popen(
                [*command, "sh", "-ec", self._boot_script()], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._wait_ready(self._shell)

    def _wait_ready(self, shell: subprocess.Popen[bytes]) -> None:
        deadline_s = time.monotonic() + _UP_S
        while not self._is_ready():
            if shell.poll() is not None or time.monotonic() > deadline_s:
                words = (self._root / "boot.log").read_text()
                self.crash()
                raise AssertionError(f"{self.name} did not come up: {words}")
            time.sleep(_POLL_S)

    def _is_ready(self) -> bool:
        assert self._shell is not None
        children = Path(f"/proc/{self._shell.pid}/task/{self._shell.pid}/children").read_text().split()
        if not children:
            return False
        self._first_pid = int(children[0])
        return Path(f"/proc/{self._first_pid}/root/run/sshd.pid").exists()

    def _boot_script(self) -> str:
        """Its mounts, then its first process."""
        root, steps = shlex.quote(str(self._root)), [f"hostname {self.name}"]
        steps += ["mount -t tmpfs tmpfs /run", "mkdir -p /run/sshd", "mount -t tmpfs -o size=6g tmpfs /dev/shm"]
        # Kept at hand first: what is hidden may hold them.
        for shared in self._hosts.shared:
            path = shlex.quote(str(shared))
            steps += [f"mkdir -p {root}/shared{path}", f"mount --bind {path} {root}/shared{path}"]
        for hidden in self._hosts.hidden:
            steps.append(f"mount -t tmpfs tmpfs {shlex.quote(str(hidden))}")
        for shared in self._hosts.shared:
            path = shlex.quote(str(shared))
            # Below a folder that each host has for itself it is mounted there, and comes with it.
            target = f"{root}{path}" if shared.parts[1] in _OWN_PARTS else path
            steps += [f"mkdir -p {target}", f"mount --bind {root}/shared{path} {target}"]
            steps.append(f"mount -o remount,bind,ro {target}")
        steps += [f"mount --rbind {root}/{part} /{part}" for part in _OWN_PARTS]
        steps.append("cd /")
        first = shlex.quote(_FIRST_PROCESS)
        return "; ".join([*steps, f"exec env -i PATH={_SYSTEM_PATH} /usr/bin/python3 -IS -c {first}"])

    # -- files

    def prepare(self) -> None:
        """Lays its files out. ``/etc`` is a whole copy: a bind mount of one file would be undone by who replaces it."""
        etc = self._root / "etc"
        for part in ("tmp", "home", "opt", "root"):
            (self._root / part).mkdir(parents=True, exist_ok=True)
        (self._root / "tmp").chmod(0o1777)
        # Read and entered by all: the interpreter that the hosts share may lie below.
        (self._root / "root").chmod(0o755)
        shutil.copytree("/etc", etc, symlinks=True, ignore=shutil.ignore_patterns("ssh"), dirs_exist_ok=True)
        (etc / "hosts").write_text("127.0.0.1 localhost\n" + self._hosts.table())
        (etc / "hostname").write_text(f"{self.name}\n")
        (etc / "resolv.conf").unlink(missing_ok=True)
        (etc / "resolv.conf").write_text("")
        for file, line in (
            ("passwd", f"{_USER}:x:{_USER_ID}:{_USER_ID}::/home/{_USER}:/bin/bash"),
            ("group", f"{_USER}:x:{_USER_ID}:"),
        ):
            others = [row for row in Path("/etc", file).read_text().splitlines() if not row.startswith(f"{_USER}:")]
            (etc / file).write_text("\n".join([*others, line]) + "\n")
        (etc / "shadow").write_text(f"root:*:19000:0:99999:7:::\nsshd:!:19000::::::\n{_USER}:*:19000:0:99999:7:::\n")
        self._prepare_ssh(etc / "ssh")

    def _prepare_ssh(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        (directory / "sshd_config").write_text(_SSHD_CONFIG.format(address=self.address))
        key = directory / "ssh_host_ed25519_key"
        if not key.exists():
            _make_key(key)
        keys = self.home / ".ssh"
        keys.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.copy(self._hosts.public_key, keys / "authorized_keys")
        for profile in (".bashrc", ".profile", ".bash_logout"):
            if Path("/etc/skel", profile).exists():
                shutil.copy(Path("/etc/skel", profile), self.home / profile)
        self._give(self.home)

    def give_key(self) -> None:
        """From now on its user may log in to the other hosts."""
        keys = self.home / ".ssh"
        shutil.copy(self._hosts.private_key, keys / "id_ed25519")
        (keys / "id_ed25519").chmod(0o600)
        (keys / "config").write_text(_CLIENT_CONFIG)
        self._give(keys)

    def put(self, source: Path, name: str) -> Path:
        """Copies a file or a folder of the machine into the user's home; returns where it is there."""
        target = self.home / name
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
        self._give(target)
        return target

    def write(self, name: str, text: str) -> None:
        """A file in the user's home."""
        target = self.home / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        self._give(target if target.parent == self.home else target.parent)

    def give_packages(self, site_packages: Path, scripts: Path, without: Sequence[str] = ()) -> None:
        """An environment ``~/sigmaos-venv`` with the packages of one of the machine's, as ``pip install`` would leave
        it, in a tenth of a second. ``site_packages`` and ``scripts`` must be among what the hosts share; packages whose
        names begin with one of ``without`` are left out."""
        home = f"/home/{_USER}/sigmaos-venv"
        self.run(f"/usr/bin/python3 -m venv --without-pip {home}")
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        target = self.home / "sigmaos-venv" / "lib" / version / "site-packages"
        for package in site_packages.iterdir():
            if not package.name.startswith((*without, "__pycache__", "__editable__")):
                (target / package.name).symlink_to(package)
        for script in scripts.iterdir():
            own = self.home / "sigmaos-venv" / "bin" / script.name
            if script.is_file() and not own.exists() and not script.name.startswith(tuple(without)):
                _copy_script(script, own, f"{home}/bin/python")
        self.write(
            ".config/pip/pip.conf",
            "[global]\nno-index = true\nno-build-isolation = false\ndisable-pip-version-check = true\n",
        )
        self._give(self.home / "sigmaos-venv")

    def _give(self, top: Path) -> None:
        subprocess.run(["chown", "-hR", f"{_USER_ID}:{_USER_ID}", str(top)], check=True)


class Hosts:
    """Hosts by name, on one network. A context manager: on leaving, all of it is gone, also after a failure."""

    def __init__(
        self,
        names: Sequence[str],
        *,
        directory: Path | None = None,
        network: str = "10.77.0",
        shared: Sequence[Path] = (),
        hidden: Sequence[Path] = (),
    ) -> None:
        """``network``: the first three numbers of the addresses. ``shared``: folders of the machine that every host
        sees at their own path, read only (packages). ``hidden``: folders that none is to see."""
        self.directory = directory or Path(tempfile.mkdtemp(prefix="sigmaos-hosts-"))
        self.shared = [*shared]
        self.hidden = [*hidden]
        self._tag = f"sr{os.getpid()}-{secrets.token_hex(2)}"
        """Namespaces belong to the whole machine: two runs must not meet."""
        self._hosts = {name: Host(self, name, f"{network}.{number}") for number, name in enumerate(names, 1)}
        self._way_out = f"{network}.254"

    def __getitem__(self, name: str) -> Host:
        return self._hosts[name]

    def __iter__(self) -> Iterator[Host]:
        return iter(self._hosts.values())

    @property
    def private_key(self) -> Path:
        """The key with which any host logs in to any other."""
        return self.directory / "key"

    @property
    def public_key(self) -> Path:
        """Its other half, which each host lets in."""
        return self.directory / "key.pub"

    def table(self) -> str:
        """The lines of ``/etc/hosts``."""
        return "".join(f"{host.address} {host.name}\n" for host in self)

    def namespace(self, name: str) -> str:
        """The network namespace of a host, or of the switch between them, as ``ip netns`` calls it."""
        return f"{self._tag}-{name}"

    def link(self, name: str, state: str) -> None:
        """Plugs a host's cable in (``up``) or out (``down``), at the switch."""
        _ip("-n", self.namespace("switch"), "link", "set", f"to-{name}", state)

    def __enter__(self) -> Self:
        try:
            self._up()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.down()

    def _up(self) -> None:
        _forget_killed()
        _make_key(self.private_key)
        switch = self.namespace("switch")
        _ip("netns", "add", switch)
        _ip("-n", switch, "link", "add", "br0", "type", "bridge")
        _ip("-n", switch, "link", "set", "br0", "up")
        for host in self:
            self._plug_in(host, switch)
            host.prepare()
            host.boot()

    def _plug_in(self, host: Host, switch: str) -> None:
        own, port = self.namespace(host.name), f"to-{host.name}"
        _ip("netns", "add", own)
        _ip("-n", switch, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", own)
        _ip("-n", switch, "link", "set", port, "master", "br0", "up")
        _ip("-n", own, "addr", "add", f"{host.address}/24", "dev", "eth0")
        _ip("-n", own, "link", "set", "lo", "up")
        _ip("-n", own, "link", "set", "eth0", "up")
        # To an address that nobody has, as on a network without a way out: who asks which address of this host would
        # lead to the outside gets an answer, and Ray asks.
        _ip("-n", own, "route", "add", "default", "via", self._way_out)

    def down(self) -> None:
        """Ends everything on the hosts and removes them. May be repeated."""
        for host in self:
            host.crash()
        for name in [*(host.name for host in self), "switch"]:
            subprocess.run(["ip", "netns", "del", self.namespace(name)], capture_output=True, check=False)
        shutil.rmtree(self.directory, ignore_errors=True)


def _copy_script(script: Path, target: Path, python: str) -> None:
    """A command of an environment belongs to the interpreter that its first line names."""
    contents = script.read_bytes()
    first, newline, rest = contents.partition(b"\n")
    if first.startswith(b"#!") and b"python" in first:
        contents = b"#!" + python.encode() + newline + rest
    target.write_bytes(contents)
    target.chmod(0o755)


def _make_key(file: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)], check=True)


def _ip(*arguments: str) -> None:
    result = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise AssertionError(f"ip {' '.join(arguments)}: {result.stderr.strip()}")


def _forget_killed() -> None:
    """Removes the networks of makers that were killed, and could not do it themselves."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False).stdout
    for line in listed.splitlines():
        maker = re.match(r"(sr(\d+)-\S+)", line)
        if maker and not Path(f"/proc/{maker[2]}").exists():
            subprocess.run(["ip", "netns", "del", maker[1]], capture_output=True, check=False)
