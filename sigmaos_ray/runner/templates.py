"""A worker's templates, and the processes that these fork for its procs: which one a proc gets.

Knows nothing of Ray.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

from sigmaos_ray import config, debug, serr
from sigmaos_ray.runner import sparelogs
from sigmaos_ray.runner.programs import Programs, fits_program_template
from sigmaos_ray.runner.templatelink import TemplateLink

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sigmaos_ray.pb import proc_pb2 as pb
    from sigmaos_ray.runner.procprocess import ProcProcess
    from sigmaos_ray.runner.templatewire import Ready

_log = debug.selector("RUNNER")

_BEGIN: Final = """
import json, sys
what = json.loads(sys.argv[1])
sys.path[:] = what["path"]
from sigmaos_ray.runner import template
template.keep(what["socket"], what["log_dir"])
"""

_OF_RAY_WORKERS: Final = ("RAY_JOB_ID", "RAY_RAYLET_PID", "RAY_NODE_ID", "RAY_LD_PRELOAD_ON_WORKERS")
"""What Ray tells its workers of themselves, and a process beside one must not take for its own."""


class Templates:
    """The templates of one worker. Used from one loop; ``close`` ends all of them, and all of their processes."""

    def __init__(self, log_dir: str, environment: Mapping[str, str], sys_path: list[str]) -> None:
        """``log_dir``: where procs' logs go; empty: their output goes where this process's does. ``environment``: what
        procs have beyond this process's own variables. ``sys_path``: where their modules are."""
        self._log_dir = log_dir
        inherited = {name: value for name, value in os.environ.items() if name not in _OF_RAY_WORKERS}
        self._environment = {**inherited, **environment}
        self._sys_path = sys_path
        self._limits = config.current().workers
        self._keeper: TemplateLink | None = None
        self._keeper_process: subprocess.Popen[bytes] | None = None
        self._bare: TemplateLink | None = None
        self._links: set[TemplateLink] = set()
        """All but the keeper's."""
        self._programs = Programs(self._limits)
        self._opening = asyncio.Lock()
        self._is_closed = False
        self._counts = {"bare": 0, "program": 0, "keepers": 0}

    async def open(self) -> None:
        """Starts a keeper and the bare template; returns when the first process waits. May be repeated. Unreachable if
        they cannot be started."""
        async with self._opening:
            if self._is_closed:
                raise serr.Closed("templates", "closed")
            if self._keeper is None or self._keeper.is_gone:
                await self._start_keeper()
            if self._bare is None or self._bare.is_gone:
                self._bare = self._fork_template([], "")
                self._fork_ahead(self._bare)
        waiting = self._bare.waiting
        if waiting is not None:
            try:
                async with asyncio.timeout(self._limits.template_start_timeout_s):
                    await asyncio.shield(waiting.is_forked)
            except TimeoutError as error:
                raise serr.Unreachable("templates", "they do not start") from error

    async def _start_keeper(self) -> None:
        await self._end_keeper()
        sparelogs.sweep(self._log_dir)
        ours, its = socket.socketpair()
        what = json.dumps({"path": self._sys_path, "socket": its.fileno(), "log_dir": self._log_dir})
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # as multiprocessing has it
        with its:
            try:
                self._keeper_process = self._popen([sys.executable, *flags, "-c", _BEGIN, what], its.fileno())
            except OSError as error:
                ours.close()
                raise serr.Unreachable("templates", f"cannot be started: {error}") from error
        self._keeper = TemplateLink(ours, self._log_dir, self._on_keeper_gone, self._on_orphan_ended)
        self._keeper.os_pid = self._keeper_process.pid
        self._counts["keepers"] += 1

    def _popen(self, argv: list[str], fd: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, env=self._environment, pass_fds=[fd], process_group=0)

    def _fork_template(self, modules: list[str], program: str) -> TemplateLink:
        assert self._keeper is not None
        link = self._keeper.fork_template(modules, program, self._on_gone)
        self._links.add(link)
        return link

    def _fork_ahead(self, link: TemplateLink) -> ProcProcess:
        """Has the next process forked."""
        process = link.waiting = link.fork_proc(self._on_loaded)
        process.began = lambda: self._on_begun(link)
        return process

    def _on_begun(self, link: TemplateLink) -> None:
        is_used = link is self._bare or self._programs.is_used(link)
        if is_used and link.waiting is None and not link.is_gone and not self._is_closed:
            self._fork_ahead(link)

    # -- taking one

    async def take(self, spec: pb.ProcSpec) -> ProcProcess:
        """A process for a proc, the one that was forked ahead if there is one. Nothing of the proc has begun. Closed
        after ``close``, Unreachable if there can be none."""
        for _ in range(self._limits.template_tries_max):
            if self._bare is None or self._bare.is_gone:
                await self.open()
            process = await self._taken(self._fitting(spec))
            if process is not None:
                return process
        raise serr.Unreachable(spec.pid, "the system has no process for it")

    async def _taken(self, link: TemplateLink) -> ProcProcess | None:
        process = link.waiting or self._fork_ahead(link)
        link.waiting = None
        try:
            async with asyncio.timeout(self._limits.template_start_timeout_s):
                if await process.is_forked and process.is_waiting():
                    return process
        except TimeoutError:
            _log("a template gives no process")
            link.kill()
        process.close()
        return None

    def _fitting(self, spec: pb.ProcSpec) -> TemplateLink:
        assert self._bare is not None
        link = self._programs.fitting(spec) if fits_program_template(spec) else None
        if link is None:
            self._counts["bare"] += 1
            self._retire(self._programs.stale())
            return self._bare
        self._counts["program"] += 1
        return link

    # -- program templates

    def _on_loaded(self, spec: pb.ProcSpec, modules: list[str]) -> None:
        """A proc had to import modules: the next one of its program need not."""
        if self._is_closed or self._keeper is None or self._keeper.is_gone:
            return
        wanted = self._programs.wanted(spec, modules)
        if not wanted:
            return
        link = self._fork_template(wanted, "" if spec.pickled else spec.program)
        self._retire(self._programs.add(spec, link, wanted))
        timer = asyncio.get_running_loop().call_later(self._limits.import_timeout_s, self._on_slow, link)
        link.ready.add_done_callback(lambda ready: self._on_ready(link, ready, timer))

    def _on_slow(self, link: TemplateLink) -> None:
        self._programs.refuse(link, "its modules take too long to import", {})
        link.kill()

    def _on_ready(self, link: TemplateLink, ready: asyncio.Future[Ready], timer: asyncio.TimerHandle) -> None:
        timer.cancel()
        if ready.cancelled():
            if self._keeper is None or self._keeper.is_gone:
                self._programs.drop(link)
            else:
                self._programs.refuse(link, "it ended as it imported its modules", {})
            return
        word = ready.result()
        if word.refusal:
            _log(f"no template: {word.refusal}")
            self._programs.refuse(link, word.refusal, word.files)
        elif link.is_gone:
            self._programs.drop(link)
        elif self._programs.ready(link, word.files):
            self._fork_ahead(link)

    def _retire(self, links: list[TemplateLink]) -> None:
        for link in links:
            link.retire()

    # -- ends

    def _on_gone(self, link: TemplateLink) -> None:
        self._programs.forget(link)
        if link.is_lost:
            self._links.discard(link)
        elif self._keeper is None or self._keeper.is_gone:
            link.lost()
        else:  # its keeper tells how its processes ended, and when all of them have
            asyncio.get_running_loop().call_later(self._limits.template_end_timeout_s, link.lost)

    def _on_orphan_ended(self, os_pid: int, wait_status: int) -> None:
        for link in self._links:
            if link.on_ended(os_pid, wait_status):
                return

    def _on_keeper_gone(self, keeper: TemplateLink) -> None:
        for link in [link for link in self._links if link.is_gone]:
            link.lost()

    async def close(self) -> None:
        """Ends everything: templates, processes that wait, procs that run. Blocks until they are gone."""
        self._is_closed = True
        async with self._opening:
            await self._end_keeper()
            for link in list(self._links):
                link.lost()

    async def _end_keeper(self) -> None:
        if self._keeper is None or self._keeper_process is None:
            return
        for link in (*self._links, self._keeper):
            link.close()
        try:
            await asyncio.to_thread(self._keeper_process.wait, 2 * self._limits.template_end_timeout_s)
        except subprocess.TimeoutExpired:
            self._keeper_process.kill()
            await asyncio.to_thread(self._keeper_process.wait)
        self._keeper.lost()
        self._keeper = self._keeper_process = self._bare = None

    def report(self) -> dict[str, Any]:
        """What there is and was, for people."""
        return {**self._counts, "templates": len(self._links), "programs": self._programs.report()}
