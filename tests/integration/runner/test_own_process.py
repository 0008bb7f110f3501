"""A proc's process is like that of ``python program.py``: nothing in it is left of another, and all of Python works."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from sigmaos_ray import Status
from sigmaos_ray.config import ProcEnv

if TYPE_CHECKING:
    from leases import Lease


def test_a_process_and_a_group_of_its_own(lease: Lease) -> None:
    def main() -> list[int]:
        return [os.getpid(), os.getpgid(0)]

    running = lease.begin(main)
    assert running.result().data == [running.process.process.pid] * 2
    assert lease.status(main).data != running.result().data


def test_variables_are_set_before_anything_reads_them(lease: Lease) -> None:
    def main() -> list[Any]:
        import time

        names = ("SIGMACONFIG", "SIGMADEBUGPID", "SIGMADEBUG", "MINE")
        return [time.tzname[0], time.localtime(0).tm_hour, *(os.environ.get(name) for name in names)]

    zone, hour, config, *others = lease.status(
        main, pid="p", env={"TZ": "Asia/Tokyo", "MINE": "1", "SIGMADEBUG": "X;"}
    ).data
    assert (zone, hour, others) == ("JST", 9, ["p", "X;", "1"])
    env = ProcEnv.from_json(config)
    assert (env.pid, env.kernel_id, env.realm, env.debug) == ("p", "sigma-1", "r", "X;")
    assert lease.status(main).data[0] != "JST"


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"PYTHONHASHSEED": "3"}, {"hash_seed": "3"}),
        ({"PYTHONOPTIMIZE": "1"}, {"optimize": 1}),
        ({"PYTHONPATH": "somewhere"}, {"path": True}),
    ],
)
def test_variables_that_count_where_an_interpreter_begins(
    lease: Lease, env: dict[str, str], expected: dict[str, Any]
) -> None:
    def main() -> dict[str, Any]:
        return {
            "hash_seed": os.environ.get("PYTHONHASHSEED"),
            "optimize": sys.flags.optimize,
            "path": any(path.endswith("somewhere") for path in sys.path),
            "hash": hash("text"),
            "argv": sys.argv,
            "pid": os.getpid(),
        }

    running = lease.begin(main, "a", env=env)
    found = running.result().data
    assert {name: found[name] for name in expected} == expected
    assert found["pid"] == running.process.process.pid
    assert found["argv"] == ["main", "a"]
    if "PYTHONHASHSEED" in env:
        assert lease.status(main, "a", env=env).data["hash"] == found["hash"]


def test_signals_timers_and_streams_are_as_python_has_them(lease: Lease) -> None:
    def main() -> list[Any]:
        import signal

        def plain(number: int) -> object:
            return signal.getsignal(number)

        defaults: dict[int, Any] = {signal.SIGINT: signal.default_int_handler}
        defaults |= dict.fromkeys((signal.SIGPIPE, signal.SIGXFSZ), signal.SIG_IGN)
        defaults[signal.SIGRTMAX] = signal.getsignal(signal.SIGRTMAX)  # asks for a profile: perf/ondemand.py
        others = [
            int(number)
            # The last of them asks for a profile.
            for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGRTMAX}
            if plain(number) != defaults.get(number, signal.SIG_DFL)
        ]
        mask = [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])]
        timers = [signal.getitimer(signal.ITIMER_REAL)[0]]
        return [others, mask, timers, sys.stdin.read(), sys.stdout is sys.__stdout__]

    assert lease.status(main).data == [[], [], [0.0], "", True]


def test_no_descriptors_but_its_own(lease: Lease) -> None:
    def main() -> list[str]:
        import contextlib

        found = []
        for fd in os.listdir("/proc/self/fd"):
            with contextlib.suppress(FileNotFoundError):  # that of the listing
                link = os.readlink(f"/proc/self/fd/{fd}")
                found += [link.split(":")[0]] if int(fd) > 2 else []
        return found

    found = lease.status(main).data
    assert len(found) == 2
    assert "socket" in found


def test_the_main_module_is_clean(lease: Lease) -> None:
    def main() -> list[Any]:
        module = sys.modules["__main__"]
        return [sorted(vars(module)), sys.argv]

    names, argv = lease.status(main, "a").data
    assert names == ["__builtins__", "__doc__", "__loader__", "__name__", "__package__", "__spec__"]
    assert argv == ["main", "a"]


def test_what_a_proc_does_to_its_process_harms_no_other(lease: Lease) -> None:
    def mess() -> None:
        import gc
        import random
        import resource
        import signal
        import threading

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        signal.setitimer(signal.ITIMER_REAL, 1000)
        resource.setrlimit(resource.RLIMIT_NOFILE, (50, 50))
        os.nice(1)
        os.umask(0o777)
        os.chdir("/")
        os.environ["MESS"] = "1"
        random.seed(1)
        gc.disable()
        sys.path.append("mess")
        sys.setrecursionlimit(100)
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        sys.stdout.close()

    def state() -> list[Any]:
        import gc
        import resource
        import threading

        umask = os.umask(0)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        return [
            *(umask, os.getcwd(), os.nice(0), "MESS" in os.environ, "mess" in sys.path, list(limits)),
            *(gc.isenabled(), sys.getrecursionlimit(), threading.active_count()),
        ]

    before = lease.status(state).data
    assert lease.status(mess) == Status.ok()
    assert lease.status(state).data == before


def test_random_numbers_differ(lease: Lease) -> None:
    def main() -> list[Any]:
        import random
        import tempfile
        import uuid

        return [random.random(), str(uuid.uuid4()), next(tempfile._get_candidate_names())]  # type: ignore[attr-defined]

    first, second = lease.status(main).data, lease.status(main).data
    assert all(one != other for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(lease: Lease, method: str) -> None:
    def main(argv: list[str]) -> list[Any]:
        import multiprocessing
        import operator
        from multiprocessing import shared_memory

        context: Any = multiprocessing.get_context(argv[0])
        with context.Pool(2) as pool:
            sums = pool.starmap(operator.add, [(1, 2), (3, 4)])
        process = context.Process(target=sys.exit, args=(7,))
        process.start()
        process.join()
        memory = shared_memory.SharedMemory(create=True, size=10)
        memory.close()
        memory.unlink()
        return [sums, process.exitcode]

    running = lease.begin(main, method)
    assert running.result().data == [[3, 7], 7], running.log()


def test_a_pool_of_processes(lease: Lease) -> None:
    def main() -> list[int]:
        import operator
        from concurrent.futures import ProcessPoolExecutor

        with ProcessPoolExecutor(2) as pool:
            return list(pool.map(operator.neg, range(3)))

    assert lease.status(main).data == [0, -1, -2]


def test_asyncio(lease: Lease) -> None:
    async def main() -> str:
        import asyncio

        process = await asyncio.create_subprocess_exec("echo", "hi", stdout=asyncio.subprocess.PIPE)
        out, _ = await process.communicate()
        await asyncio.sleep(0)
        return out.decode()

    assert lease.status(main).data == "hi\n"


def test_asyncio_of_the_programs_own(lease: Lease) -> None:
    def main() -> int:
        import asyncio

        async def one() -> int:
            return await asyncio.to_thread(lambda: 1)

        return asyncio.run(one()) + asyncio.run(one())

    assert lease.status(main).data == 2


def test_a_fault_tells_where_it_was(lease: Lease) -> None:
    def main() -> None:
        import ctypes

        def here_it_was() -> None:
            ctypes.string_at(0)

        here_it_was()

    running = lease.begin(main)
    assert running.result() == Status.crash("signal: segmentation fault")
    assert "here_it_was" in running.log()


def test_tracebacks_on_request(lease: Lease) -> None:
    def main() -> None:
        import faulthandler

        faulthandler.enable()
        faulthandler.dump_traceback()

    running = lease.begin(main)
    assert running.result() == Status.ok()
    assert "in main" in running.log()


def test_a_profiler(lease: Lease) -> None:
    def main() -> bool:
        import cProfile
        import io
        import pstats

        profile = cProfile.Profile()
        profile.runcall(sorted, [2, 1])
        out = io.StringIO()
        pstats.Stats(profile, stream=out).print_stats()
        return "sorted" in out.getvalue()

    assert lease.status(main).data is True


def test_handlers_of_signals(lease: Lease) -> None:
    def main() -> list[int]:
        import signal

        heard: list[int] = []
        for number in (signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD):
            signal.signal(number, lambda number, _: heard.append(int(number)))
        os.kill(os.getpid(), signal.SIGTERM)
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        signal.pause()
        return heard

    assert lease.status(main).data == [15, 14]


def test_processes_of_others(lease: Lease) -> None:
    def main() -> list[Any]:
        import subprocess

        result = subprocess.run(["sh", "-c", "echo $MINE; exit 3"], stdout=subprocess.PIPE, text=True, check=False)
        return [result.stdout, result.returncode]

    assert lease.status(main, env={"MINE": "1"}).data == ["1\n", 3]


def test_best_effort_procs_give_way(lease: Lease) -> None:
    def main() -> list[int]:
        return [os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)]

    policy, niceness = lease.status(main).data
    own_policy, own_niceness = lease.status(main, mcpu=1000).data
    assert own_policy == os.SCHED_OTHER
    assert policy == os.SCHED_IDLE or niceness >= own_niceness + 15


def test_a_client_costs_a_short_proc_no_thread(lease: Lease) -> None:
    def main() -> list[Any]:
        import threading

        from sigmaos_ray import SigmaClnt

        with SigmaClnt() as sc:
            sc.started()
            pid = sc.pid
        return [pid, threading.active_count(), "grpc" in sys.modules]

    running = lease.begin(main)
    assert running.result().data == [running.pid, 1, False]
    assert running.words.heard == ["started"]
