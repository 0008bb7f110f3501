"""``Tstate``: an instance of SigmaOS for a test, and a client of it (G-10).

with Tstate.all() as ts:
    ts.s3.make_bucket("books")
    ts.sc.put_file("name/tfile", b"hi")
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from sigmaos_ray import debug, serr
from sigmaos_ray.config import LOOPBACK, ProcEnv
from sigmaos_ray.instance import STATE_FILE_NAME, Instance, logs_dir, read_instance
from sigmaos_ray.testing.leaks import Processes
from sigmaos_ray.testing.raynodes import RayNodes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sigmaos_ray import SigmaClnt
    from sigmaos_ray.testing.s3 import S3

_log = debug.selector("TEST")

NAMED_ONLY: Final = ("named",)


def clnt_env(instance: Instance, program: str = "test", realm: str = "") -> ProcEnv:
    """What ``SigmaClnt`` or ``AsyncFsLib`` is made with, for a client outside of the instance: its ``~local`` is the
    first kernel node. ``realm``: the instance's own if empty. NotFound for a realm that is not up."""
    realm = realm or instance.realm
    named = instance.named_of(realm)
    if named is None:
        raise serr.NotFound(realm, "no such realm, or it is not up")
    return ProcEnv(
        pid=f"{program}-{secrets.token_hex(4)}",
        program=program,
        realm=realm,
        kernel_id=instance.kernel_nodes[0].id if instance.kernel_nodes else "",
        host=instance.kernel_nodes[0].host if instance.kernel_nodes else LOOPBACK,
        named=named,
        state_file=str(Path(instance.state_dir) / STATE_FILE_NAME),
    )


class Tstate:
    """An instance and a client of it, between ``__enter__`` and ``__exit__``; made by ``Tstate.path`` or
    ``Tstate.all``.

    With ``start`` the instance is its own, in a temporary directory, beside any other of the machine, and goes with all
    it kept; processes that outlive it raise AssertionError. Without, it is the one that runs already (Unreachable if
    none does), and stays: what a test makes there it removes.
    """

    sc: SigmaClnt
    """A client of the instance, closed with the Tstate."""
    pathname = "name/"
    """The tree that a test of files works in."""
    keeps_logs = False
    """Set it, and what kernel parts and procs of an instance of its own printed is there afterwards, in
    ``kept_logs``."""
    kept_logs: Path | None = None
    """The caller's to remove."""

    def __init__(
        self,
        services: Sequence[str] | None,
        *,
        start: bool = True,
        num_cpus: int | None = None,
        named_count: int | None = None,
        on_line: Callable[[str], None] = print,
    ) -> None:
        """``services``: those to start, None for all. ``num_cpus``: of its own Ray; the machine's cores by default.
        ``on_line``: called with each line that the start prints."""
        self._services = services
        self._start = start
        self._num_cpus = num_cpus
        self._named_count = named_count
        self._on_line = on_line
        self._temporary: Path | None = None
        self._s3: S3 | None = None
        self._processes = Processes()
        self._ray_nodes = RayNodes(lambda: self.instance)
        self._state_file: Path | None = None

    @classmethod
    def path(cls, pathname: str = "name/", *, start: bool = True, num_cpus: int | None = None) -> Self:
        """What a test of files at ``pathname`` needs: named alone for ``name/``, which starts sooner; everything for
        what lies behind services."""
        alone = pathname.strip("/") == "name"
        tstate = cls(NAMED_ONLY if alone else None, start=start, num_cpus=num_cpus)
        tstate.pathname = pathname
        return tstate

    @classmethod
    def all(cls, *, start: bool = True, num_cpus: int | None = None, named_count: int | None = None) -> Self:
        """All services: named, schedd, ux, s3. ``named_count``: of named, of which all but one stand by."""
        return cls(None, start=start, num_cpus=num_cpus, named_count=named_count)

    @property
    def instance(self) -> Instance:
        """What the instance says of itself now: where everything is. Read anew each time, since parts that are started
        again have other addresses. Unreachable if it does not run."""
        instance = read_instance(self._state_file)
        if instance is None:
            raise serr.Unreachable(str(self._state_file or "sigmaos"), "no instance is running")
        return instance

    @property
    def state_dir(self) -> Path:
        """Where the instance keeps its state: logs, etcd's data, what ``name/ux/~local`` shows."""
        return Path(self.instance.state_dir)

    @property
    def s3(self) -> S3:
        """boto3 on the instance's S3, made at first use and closed with the Tstate. NotSupported if it has none."""
        if self._s3 is None:
            from sigmaos_ray.testing.s3 import S3

            self._s3 = S3(self.instance)
        return self._s3

    def new_clnt(self, program: str = "test") -> SigmaClnt:
        """One more client of the instance, with sessions and leases of its own. Whoever asks for it closes it."""
        from sigmaos_ray import SigmaClnt

        return SigmaClnt(clnt_env(self.instance, program))

    def realm(self, name: str) -> SigmaClnt:
        """A client of one of the instance's realms. Whoever asks for it closes it; NotFound if it is not up."""
        from sigmaos_ray import SigmaClnt

        return SigmaClnt(clnt_env(self.instance, realm=name))

    def boot_node(self, count: int = 1, *, num_cpus: int = 1) -> list[str]:
        """Adds Ray nodes to an instance of its own, on this machine, and blocks until their kernel nodes serve, some
        seconds each; returns the kernel ids. They go with the instance, or by ``kill_node``. Inval for an instance that
        is not its own."""
        if not self._start:
            raise serr.Inval("boot_node", "the instance is not this Tstate's own")
        return [self._ray_nodes.add(num_cpus) for _ in range(count)]

    def kill_node(self, kernel_id: str) -> None:
        """Kills a node that ``boot_node`` added, with all its processes at once, as a crash of its host would. NotFound
        for any other node."""
        self._ray_nodes.kill(kernel_id)

    def __enter__(self) -> Self:
        """Blocks until the instance is ready, about as long as ``sigmaos start``. Nothing is left behind if it cannot
        start."""
        try:
            if self._start:
                self._boot()
            self._processes.note(self.instance)
            self.sc = self.new_clnt()
        except BaseException:
            self._halt()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        try:
            self.sc.close()
            if self._s3 is not None:
                self._s3.close()
        finally:
            self._halt()

    def _boot(self) -> None:
        from kernel import boot

        self._temporary = Path(tempfile.mkdtemp(prefix="sigmaos-test-"))
        self._state_file = self._temporary / STATE_FILE_NAME
        boot.start_instance(
            self._temporary,
            services=self._services,
            num_cpus=self._num_cpus,
            named_count=self._named_count,
            own_ray=True,
            on_line=self._on_line,
        )
        _log(f"an instance of its own in {self._temporary}")

    def _halt(self) -> None:
        """Stops and removes what ``_boot`` made; a running instance of somebody else is left alone."""
        if self._temporary is None:
            return
        from kernel import boot

        # Once more before the end: what the test made the instance start (workers, procs) is to be gone, too.
        if (instance := read_instance(self._state_file)) is not None:
            self._processes.note(instance)
        try:
            self._ray_nodes.close()
            boot.stop_instance(self._temporary)
        finally:
            if self.keeps_logs:
                self._keep_logs(self._temporary)
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = None
        remaining = self._processes.remaining()
        assert not remaining, f"processes outlived their instance: {remaining}"

    def _keep_logs(self, state_dir: Path) -> None:
        logs = logs_dir(state_dir, "")
        if logs.is_dir():
            self.kept_logs = Path(tempfile.mkdtemp(prefix="sigmaos-logs-"))
            shutil.copytree(logs, self.kept_logs, dirs_exist_ok=True)
