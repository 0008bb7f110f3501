"""Where an instance is, what it says of itself, and who a client of it is: its ``ProcEnv`` and its credentials.

The instance of a user says what it is in one file, ``instance.json`` of its state directory. A client outside of it
starts there; on a machine without that file, at ``SIGMAOS_NAMED``, where the root realm's named tells the same
(``sigmap.INSTANCE``). A proc starts from its environment.

S3 credentials of a client come from its environment, and procs inherit those of who spawned them: ``SIGMAOS_S3_KEY``
and ``SIGMAOS_S3_SECRET`` (and ``SIGMAOS_S3_TOKEN``, of credentials that end by themselves), or
``SIGMAOS_S3_PROFILE``: an AWS profile whose keys stand in AWS's credentials file. None of them: s3 uses its node's own.
"""

from __future__ import annotations

import configparser
import contextlib
import os
import secrets
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from sigmaos_ray import decoding, machine, serr
from sigmaos_ray.auth import files
from sigmaos_ray.auth.verifying import Trust
from sigmaos_ray.config import LOOPBACK, ProcEnv
from sigmaos_ray.machine import OsProcess
from sigmaos_ray.sigmap import ROOT_REALM, Endpoint, Secret
from sigmaos_ray.sigmap.text import is_utf8
from sigmaos_ray.tls.files import CERTIFICATE, tls_dir
from sigmaos_ray.tls.identity import has_certificate

if TYPE_CHECKING:
    from collections.abc import Mapping


STATE_FILE_NAME: Final = "instance.json"
PROC_ENV_VARIABLE: Final = "SIGMACONFIG"
TLS_VARIABLE: Final = "SIGMAOS_TLS"
CREDENTIALS_VARIABLE: Final = "SIGMAOS_CREDENTIALS"


class ServiceInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One kernel service, as ``status --json`` reports it."""

    host: str
    port: int
    pid: int
    machine: str = ""
    started_ticks: int = 0
    """With ``machine``: whose process id it is (``machine.OsProcess``)."""

    @property
    def process(self) -> OsProcess:
        return OsProcess(self.machine, self.pid, self.started_ticks)


class PartState(msgspec.Struct, frozen=True, kw_only=True):
    """How one service of a kernel node is: ``starting``, ``running``, or ``failed``, and then tried again."""

    state: str
    cause: str = ""


class KernelNode(msgspec.Struct, frozen=True, kw_only=True):
    """One kernel node: the services of one Ray node."""

    id: str
    """Empty for one of which boot could not learn who it is."""
    host: str
    ray_node_id: str = ""
    machine: str = ""
    services: dict[str, ServiceInfo] = {}
    """Those that run."""
    parts: dict[str, PartState] = {}
    """All that are to run there."""


class ChildProcess(msgspec.Struct, frozen=True, kw_only=True):
    """A process that the instance started, known by more than its id, which may be another's by now."""

    name: str
    pid: int
    machine: str = ""
    started_ticks: int = 0

    @property
    def process(self) -> OsProcess:
        return OsProcess(self.machine, self.pid, self.started_ticks)


class RealmInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant that runs."""

    named: Endpoint


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """The running instance, as its state file says. Written by boot alone, whole, by rename."""

    realm: str
    state_dir: str
    boot_pid: int
    boot_machine: str = ""
    boot_started_ticks: int = 0
    boot_host_name: str = ""
    ready: bool = False
    config: str = ""
    """The preset of tunables that it was started with."""
    tls: str = ""
    """Where each of its hosts has its certificate; empty: it has no TLS."""
    etcd_endpoints: list[str] = []
    etcd_version: str = ""
    etcd_tls: str = ""
    """As ``tls``, for connections to etcd."""
    s3_endpoint: str | None = None
    s3_credentials_profile: str | None = None
    ray_address: str = ""
    ray_temp_dir: str = ""
    """Of an own Ray; empty for one that was joined."""
    named: Endpoint = Endpoint()
    trust: Trust = Trust()
    """How servers that are started outside of it check their clients' credentials."""
    kernel_nodes: list[KernelNode] = []
    children: list[ChildProcess] = []
    realms: dict[str, RealmInfo] = {}
    """The tenants; the root realm's own is ``named``."""

    @property
    def boot(self) -> OsProcess:
        """The boot process, which all of it ends with."""
        return OsProcess(self.boot_machine, self.boot_pid, self.boot_started_ticks)

    def has_crashed(self) -> bool:
        """True if the boot process is certainly gone, and the state file is what it left. Of the instance of another
        machine nobody here knows: False. A machine that was started anew is another one, under its old name."""
        return self.boot.is_gone() if self.boot.is_here else self.boot_host_name == socket.gethostname()

    def named_of(self, realm: str) -> Endpoint | None:
        """Where a realm's named answers; None for a realm that is not up. Without addresses: not known yet."""
        if realm == self.realm:
            return self.named
        return self.realms[realm].named if realm in self.realms else None

    def to_json(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self), indent=2)


decode_instance: Final = decoding.json_decoder(Instance)
"""Raises msgspec.DecodeError if the bytes do not describe an instance."""


def _variable(name: str, environ: Mapping[str, str] = os.environ) -> str:
    """What a variable says; empty if it is not there. Inval if no message can carry it."""
    text = environ.get(name, "")
    if not is_utf8(text):  # it is not shown: some are secrets
        raise serr.Inval(name, "not valid Unicode text")
    return text


def state_dir() -> Path:
    """Where the instance of this user keeps its state: ``SIGMAOS_STATE_DIR``, else below XDG_STATE_HOME."""
    configured = _variable("SIGMAOS_STATE_DIR")
    if configured:
        return Path(configured).expanduser().absolute()
    base = _variable("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "sigmaos-ray"


def logs_dir(state_dir: Path, realm: str) -> Path:
    """Where the kernel parts and procs of one realm leave what they print."""
    root = state_dir / "logs"
    return root if realm in ("", ROOT_REALM) else root / "realms" / realm


def credentials_file(state_dir: Path, realm: str) -> Path:
    """What a client of that realm needs to show (``SIGMAOS_CREDENTIALS``)."""
    return state_dir / "auth" / "realms" / f"{realm}.json"


def read_instance(path: str | os.PathLike[str] | None = None) -> Instance | None:
    """The instance that a state file names (default: this user's); None if there is no such file."""
    file = Path(path) if path else state_dir() / STATE_FILE_NAME
    try:
        data = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return decode_instance(data)


# -- who a client is


def find_proc_env() -> ProcEnv:
    """Who this process is: the proc that its environment names, else a client outside of the running instance.
    Unreachable if there is no instance."""
    text = _variable(PROC_ENV_VARIABLE)
    if text:
        try:
            return ProcEnv.from_json(text)
        except msgspec.DecodeError as error:
            raise serr.Inval(PROC_ENV_VARIABLE, f"not a ProcEnv: {error}") from error
    return outside_proc_env()


def find_state_dir() -> str:
    """Where the instance of this process keeps its state: the proc's that it is, else of this user's."""
    told = find_proc_env().state_dir if _variable(PROC_ENV_VARIABLE) else ""
    return told or os.fspath(state_dir())


def named_addresses(environ: Mapping[str, str] = os.environ) -> Endpoint | None:
    """Where ``SIGMAOS_NAMED`` says that the root realm's named answers: one of several addresses, with commas between
    them, whichever leads; else a configured file of credentials. None if neither says anything."""
    addresses = tuple(filter(None, _variable("SIGMAOS_NAMED", environ).replace(" ", "").split(",")))
    if not addresses and (shown := files.configured(environ)) is not None:
        addresses = shown.named
    return Endpoint(addrs=addresses) if addresses else None


def outside_proc_env(state_file: str | os.PathLike[str] | None = None, *, realm: str = "") -> ProcEnv:
    """The environment of a client outside of any proc: of the instance that a state file names, else of the one at
    ``SIGMAOS_NAMED``, else of this user's. ``realm``: as whose client; what ``SIGMAOS_REALM`` says by default, else the
    instance's own. Unreachable if there is no instance, NotFound if the realm is none of it."""
    shown = files.configured()
    realm = realm or _variable("SIGMAOS_REALM") or (shown.realm if shown is not None else "")
    named = named_addresses()
    if named is not None and state_file is None:
        return _env_elsewhere(named, realm or ROOT_REALM)
    file = os.fspath(state_file or state_dir() / STATE_FILE_NAME)
    instance = read_instance(file)
    if instance is None:  # none on this machine, but perhaps one elsewhere
        if named is None:
            raise serr.Unreachable("name", NO_INSTANCE)
        return _env_elsewhere(named, realm or ROOT_REALM)
    return _env_here(instance, realm or instance.realm, file)


NO_INSTANCE: Final = (
    "no running instance: start one with `sigmaos start`, or say where one is: SIGMAOS_NAMED=<address of named>"
)
"""What to do about it."""


def _env_elsewhere(named: Endpoint, realm: str) -> ProcEnv:
    # For any realm: the root's named says where the others' are.
    shown = files.configured()
    outside = _outside(realm, named=named, host=_own_address_for(named))
    env = msgspec.structs.replace(outside, tls=tls_elsewhere())
    return env if shown is None else msgspec.structs.replace(env, token=shown.token, trust=shown.trust)


def _env_here(instance: Instance, realm: str, state_file: str) -> ProcEnv:
    named = instance.named_of(realm)
    if named is None:
        raise serr.NotFound(realm, NO_REALM)
    # The first of this machine. There may be none: machines that share the user's home share the state file.
    node = next((node for node in instance.kernel_nodes if machine.is_own_address(node.host)), None)
    kernel_id, host = (node.id, node.host) if node is not None else ("", _own_address_for(named))
    return msgspec.structs.replace(
        _outside(realm, named=named, host=host),
        kernel_id=kernel_id,
        state_file=state_file,
        state_dir=instance.state_dir,
        trust=instance.trust,
        config=_variable("SIGMAOS_CONFIG") or instance.config,
        tls=_credentials_with_certificate() or instance.tls,
    )


def tls_elsewhere() -> str:
    """What a client shows to an instance whose state file it has not (``ProcEnv.tls``): the certificate of
    ``SIGMAOS_CREDENTIALS``, else of this machine, if it is one of the instance's. Empty: none, or ``SIGMAOS_TLS=off``
    says that there is no use for it."""
    if _variable(TLS_VARIABLE) == "off":
        return ""
    of_host = tls_dir(state_dir())
    return _credentials_with_certificate() or (os.fspath(of_host) if (of_host / CERTIFICATE).exists() else "")


def _credentials_with_certificate() -> str:
    file = os.path.expanduser(_variable(CREDENTIALS_VARIABLE))
    return file if file and has_certificate(Path(file)) else ""


def _own_address_for(named: Endpoint) -> str:
    """Where a server of this machine can be reached from where named is."""
    address = named.addrs[0] if named.addrs else ""
    return machine.own_address_towards(address.rpartition(":")[0]) or LOOPBACK


NO_REALM: Final = "no such realm, or it is not up: `sigmaos realm ls` shows them"
"""What to do about it."""


def _outside(realm: str, *, named: Endpoint, host: str) -> ProcEnv:
    return ProcEnv(
        pid=f"client-{os.getpid()}-{secrets.token_hex(4)}",
        realm=realm,
        secrets=s3_secrets(),
        host=host,
        named=named,
        debug=_variable("SIGMADEBUG"),
        perf=_variable("SIGMAPERF"),
    )


# -- its credentials


S3_SERVICE: Final = "s3"
S3_KEY: Final = "SIGMAOS_S3_KEY"
S3_SECRET: Final = "SIGMAOS_S3_SECRET"
S3_TOKEN: Final = "SIGMAOS_S3_TOKEN"
S3_PROFILE: Final = "SIGMAOS_S3_PROFILE"


def s3_secrets(environ: Mapping[str, str] = os.environ) -> tuple[Secret, ...]:
    """What the environment says; empty if nothing. Inval for half of a pair, Perm for a profile without keys."""
    key, secret = _variable(S3_KEY, environ), _variable(S3_SECRET, environ)
    if bool(key) != bool(secret):
        raise serr.Inval(S3_KEY if secret else S3_SECRET, f"{S3_KEY} and {S3_SECRET} are set together")
    if key:
        return (Secret(S3_SERVICE, key, secret, _variable(S3_TOKEN, environ)),)
    profile = _variable(S3_PROFILE, environ)
    return (_of_profile(profile, environ),) if profile else ()


def _of_section(file: str, section: str) -> Secret:
    # Without interpolation: a % in a secret is a %. Not strict: AWS's own tools take a section that stands there twice.
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read(Path(file).expanduser())
    keys = parser[section]
    key, secret = keys["aws_access_key_id"], keys["aws_secret_access_key"]
    return Secret(S3_SERVICE, key, secret, keys.get("aws_session_token", ""))


def _of_profile(profile: str, environ: Mapping[str, str]) -> Secret:
    # AWS's two files call the section of one profile differently; the credentials file counts first, as it does there.
    files = (
        (environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"), profile),
        (environ.get("AWS_CONFIG_FILE", "~/.aws/config"), profile if profile == "default" else f"profile {profile}"),
    )
    for file, section in files:
        with contextlib.suppress(configparser.Error, KeyError, UnicodeDecodeError):
            return _of_section(file, section)
    named = " or ".join(file for file, _ in files)
    raise serr.Perm(profile, f"{S3_PROFILE}: no aws_access_key_id and aws_secret_access_key of this profile in {named}")
