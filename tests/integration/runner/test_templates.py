"""Templates: which process a proc gets; that it is like one that imported everything itself; that nothing is left."""

from __future__ import annotations

import colorsys
import contextlib
import os
import sched as chunk
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import psutil
import pytest

from sigmaos_ray import Status, serr
from sigmaos_ray.machine import OsProcess

if TYPE_CHECKING:
    from collections.abc import Callable

    from leases import Lease


def wait_for(condition: Callable[[], bool]) -> None:
    """Until it holds."""
    ends_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < ends_s, "it never came to be"
        time.sleep(0.005)


def program_state(lease: Lease, program: str) -> str:
    """What became of a program's template."""
    return str(lease.templates.report()["programs"].get(program, ""))


def warm(lease: Lease, program: str, *args: str) -> None:
    """Runs a program once, and waits for what becomes of its template."""
    lease.status(program, *args)
    wait_for(lambda: program_state(lease, program) not in ("", "made"))


def write(folder: Path, text: str, name: str = "prog") -> str:
    """A program; each version of it is a file of its own, as an editor writes it."""
    part = folder / "part"
    part.write_text(text)
    part.rename(folder / f"{name}.py")
    return name


def test_the_second_proc_of_a_program_does_not_import_it(own_lease: Callable[..., Lease], folder: Path) -> None:
    (folder / "helper.py").write_text("import itertools\n_n = itertools.count(1)\ndef count(): return next(_n)\n")
    name = write(folder, "import helper\ndef main(argv): return helper.count()\n")
    lease = own_lease()
    warm(lease, name)
    assert program_state(lease, name) == "ready"
    before = lease.templates.report()["program"]
    assert [lease.status(name).data for _ in range(3)] == [1, 1, 1]
    assert lease.templates.report()["program"] == before + 3


@pytest.mark.parametrize("edited", ["prog.py", "helper.py", "data.txt"])
def test_edit_and_run_again_runs_the_new_code(own_lease: Callable[..., Lease], folder: Path, edited: str) -> None:
    versions = {
        "prog.py": "import helper\ndef main(argv): return [{}, helper.value, helper.data]\n",
        "helper.py": "from pathlib import Path\nvalue = {}\ndata = (Path(__file__).parent / 'data.txt').read_text()\n",
        "data.txt": "{}",
    }
    for file, text in versions.items():
        (folder / file).write_text(text.format(1))
    lease = own_lease()
    warm(lease, "prog")
    assert program_state(lease, "prog") == "ready"
    assert lease.status("prog").data == [1, 1, "1"]
    expected: list[Any] = [1, 1, "1"]
    for version in (2, 3):
        at = list(versions).index(edited)
        expected[at] = str(version) if edited == "data.txt" else version
        (folder / "part").write_text(versions[edited].format(version))
        (folder / "part").rename(folder / edited)
        assert lease.status("prog").data == expected
        wait_for(lambda: program_state(lease, "prog") == "ready")
        assert lease.status("prog").data == expected
    (folder / "prog.py").unlink()
    assert lease.status("prog").is_err()


@pytest.mark.parametrize(
    ("top_level", "why"),
    [
        ("import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()", "threads"),
        ("import subprocess; child = subprocess.Popen(['sleep', '1003'])", "processes"),
        ("import random; random.seed(1)", "random"),
        ("import random; rng = random.Random()", "random"),
        ("import uuid; me = uuid.uuid4()", "random"),
        ("import secrets; me = secrets.token_hex()", "random"),
        ("import os; me = os.getpid()", "process id"),
        ("import time; began = time.time()", "time"),
        ("import sys; first = sys.argv[0]", "arguments"),
        ("import os; me = os.environ.get('SIGMADEBUGPID')", "variables"),
        ("import os; everything = dict(os.environ)", "variables"),
        ("import signal; signal.signal(signal.SIGUSR1, print)", "signals"),
        ("import signal; signal.setitimer(signal.ITIMER_REAL, 1000)", "timers"),
        ("import asyncio; loop = asyncio.new_event_loop()", "open"),
        ("log = open('/dev/null')", "open"),
        ("print('imported')", "prints"),
        ("import numpy; rng = numpy.random.default_rng()", "random"),
    ],
)
def test_what_a_fork_would_not_hand_on_is_imported_by_each_proc(
    own_lease: Callable[..., Lease], folder: Path, top_level: str, why: str
) -> None:
    write(folder, f"import colorsys\n{top_level}\ndef main(argv): return 1\n")
    lease = own_lease(OMP_NUM_THREADS="1")
    warm(lease, "prog")
    assert why in program_state(lease, "prog")
    before = lease.templates.report()["program"]
    assert lease.status("prog") == Status.info("", 1)
    assert lease.templates.report()["program"] == before


ONLY_IN_A_TEMPLATE = "import os, time\nif 'SIGMACONFIG' not in os.environ: {}\ndef main(argv): return 1\n"


def test_imports_that_do_not_end_are_given_up(own_lease: Callable[..., Lease], folder: Path) -> None:
    write(folder, ONLY_IN_A_TEMPLATE.format("time.sleep(1000)"))
    lease = own_lease()
    lease.templates._limits = msgspec.structs.replace(lease.templates._limits, import_timeout_s=0.5)
    warm(lease, "prog")
    assert "too long" in program_state(lease, "prog")
    assert lease.status("prog").data == 1


def test_imports_that_end_the_template_are_given_up(own_lease: Callable[..., Lease], folder: Path) -> None:
    write(folder, ONLY_IN_A_TEMPLATE.format("os._exit(3)"))
    lease = own_lease()
    warm(lease, "prog")
    assert "ended" in program_state(lease, "prog")
    for number in range(6):  # what has none takes no room of those that have
        warm(lease, write(folder, "print('x')\ndef main(argv): return 1\n", f"printing{number}"))
    assert "ended" in program_state(lease, "prog")
    again = msgspec.structs.replace(lease.templates._limits, refused_again_s=0.0)
    lease.templates._programs._limits = again
    write(folder, "def main(argv): return 1\n")
    lease.status("prog")
    wait_for(lambda: program_state(lease, "prog") == "ready")


def test_functions_of_one_name_share_a_template(own_lease: Callable[..., Lease], folder: Path) -> None:
    for name in ("one", "two"):
        (folder / f"{name}.py").write_text(f"import colorsys\nvalue = '{name}'\n")

    def make(name: str, number: int) -> Callable[[], Any]:
        def run() -> Any:
            import importlib

            return [importlib.import_module(name).value, number]

        return run

    lease = own_lease()
    assert [lease.status(make("one", number)).data for number in range(3)] == [["one", n] for n in range(3)]
    assert lease.templates.report()["templates"] == 1, "what a function imports as it runs is its own affair"


def test_functions_that_need_modules_find_them_imported(own_lease: Callable[..., Lease], folder: Path) -> None:
    lease = own_lease()

    def make(number: int) -> Callable[[], Any]:
        return lambda: [colorsys.rgb_to_hsv(0, 0, number)[2], number]

    for number in range(4):
        assert lease.status(make(number)).data == [number, number]
        wait_for(lambda: program_state(lease, "lambda") == "ready")
    assert lease.templates.report()["program"] == 3
    assert lease.status(lambda: chunk.__name__).data == "sched"
    wait_for(lambda: program_state(lease, "lambda") == "ready")
    assert lease.status(make(1)).data == [1, 1]
    assert lease.templates.report()["program"] == 5


def test_libraries_are_imported_ahead(own_lease: Callable[..., Lease], folder: Path) -> None:
    text = "import numpy, uuid, time, os, logging\ndef main(argv): return [numpy.random.random(), str(uuid.uuid4())]\n"
    lease = own_lease(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    warm(lease, write(folder, text))
    assert program_state(lease, "prog") == "ready"
    drawn = [lease.status("prog").data for _ in range(3)]
    assert len({number for number, _ in drawn}) == 3
    assert len({text for _, text in drawn}) == 3


def test_numbers_that_a_program_seeded_are_the_same(own_lease: Callable[..., Lease], folder: Path) -> None:
    text = "import numpy\nnumpy.random.seed(7)\ndef main(argv): return numpy.random.random()\n"
    lease = own_lease(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    warm(lease, write(folder, text))
    assert program_state(lease, "prog") == "ready"
    assert len({lease.status("prog").data for _ in range(3)}) == 1


def test_functions_of_a_program_are_as_they_were(own_lease: Callable[..., Lease], folder: Path) -> None:
    """What looked over the shoulder of its imports looks no more."""
    text = (
        "import os, sys, time, random, builtins, io, pickle\n"
        "from time import time as kept\n"
        "def main(argv): return [kept() > 0, type(time.time).__name__, type(os.environ._data).__name__,\n"
        "    type(sys.argv).__name__, open is io.open, type(open).__name__, sys.argv,\n"
        "    pickle.loads(pickle.dumps(time.time)) is time.time]\n"
    )
    lease = own_lease()
    warm(lease, write(folder, text))
    builtin = "builtin_function_or_method"
    expected = [True, builtin, "dict", "list", True, builtin, ["prog", "a"], True]
    assert lease.status("prog", "a").data == expected


@pytest.mark.parametrize("options", [{"fresh": True}, {"env": {"MINE": "1"}}, {"env": {"PYTHONHASHSEED": "1"}}])
def test_procs_that_import_their_modules_themselves(
    own_lease: Callable[..., Lease], folder: Path, options: dict[str, Any]
) -> None:
    text = "import os\nmine = os.environ.get('MINE')\ndef main(argv): return [mine, os.environ.get('PYTHONHASHSEED')]\n"
    lease = own_lease()
    warm(lease, write(folder, text))
    before = lease.templates.report()["program"]
    env = options.get("env", {})
    assert lease.status("prog", **options).data == [env.get("MINE"), env.get("PYTHONHASHSEED")]
    assert lease.templates.report()["program"] == before


def test_programs_used_last_are_kept(own_lease: Callable[..., Lease], folder: Path) -> None:
    lease = own_lease()
    for number in range(6):
        warm(lease, write(folder, "def main(argv): return 1\n", f"prog{number}"))
    assert sorted(lease.templates.report()["programs"]) == ["prog2", "prog3", "prog4", "prog5"]
    wait_for(lambda: lease.templates.report()["templates"] == 5)


def test_a_template_that_is_replaced_lives_as_long_as_its_procs(own_lease: Callable[..., Lease], folder: Path) -> None:
    text = (
        "import time\nfrom pathlib import Path\n"
        "def main(argv):\n    while argv and not Path(argv[0]).exists(): time.sleep(0.01)\n    return {}\n"
    )
    lease = own_lease()
    warm(lease, write(folder, text.format(1)))
    gate = folder / "gate"
    running = lease.begin("prog", str(gate))
    write(folder, text.format(2))
    assert lease.status("prog").data == 2
    gate.touch()
    assert running.result().data == 1
    wait_for(lambda: lease.templates.report()["templates"] == 2)


# -- ends


def _templates() -> list[psutil.Process]:
    """The keeper and its templates of this process."""
    children = psutil.Process().children(recursive=True)
    return [process for process in children if _is_template(process)]


def _is_template(process: psutil.Process) -> bool:
    try:
        return any("runner import template" in word for word in process.cmdline())
    except psutil.Error:  # it ends, or has ended
        return False


def test_nothing_is_left(own_lease: Callable[..., Lease], folder: Path, tmp_path: Path) -> None:
    lease = own_lease()
    warm(lease, write(folder, "def main(argv): return 1\n"))
    running = lease.begin(_sleep, str(tmp_path / "child"))
    child = _read(tmp_path / "child")
    assert len(_templates()) >= 5
    lease.run(lease.templates.close())
    assert running.result() == Status.crash("signal: killed")
    assert not OsProcess.of(child)
    assert not _templates()
    assert lease.spares() == []
    with pytest.raises(serr.Closed):
        lease.begin(_sleep)


def _sleep(argv: list[str]) -> None:
    import subprocess

    child = subprocess.Popen(["sleep", "1004"], start_new_session=True)
    Path(argv[0]).write_text(str(child.pid))
    time.sleep(1000)


def _read(file: Path) -> int:
    wait_for(lambda: file.exists() and bool(file.read_text()))
    return int(file.read_text())


def _kill(which: str, running: Any) -> None:
    process = psutil.Process(running.process.process.pid)
    template = process.parent()
    assert template is not None
    keeper = template.parent()
    assert keeper is not None
    killed = {"template": [template], "keeper": [keeper], "both": [keeper, template]}[which]
    for each in killed:
        os.kill(each.pid, signal.SIGKILL)


@pytest.mark.parametrize("which", ["template", "keeper", "both"])
def test_whichever_is_killed_nothing_is_left_and_all_goes_on(
    own_lease: Callable[..., Lease], tmp_path: Path, which: str
) -> None:
    lease = own_lease()
    running = lease.begin(_sleep, str(tmp_path / "child"))
    child = _read(tmp_path / "child")
    _kill(which, running)
    assert running.result() == Status.crash("signal: killed")
    wait_for(lambda: running.process.process.is_gone())
    if which != "both":  # its orphan is nobody's then that this worker would know
        assert not OsProcess.of(child)
    else:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    assert lease.status(os.getpid).is_ok()
    assert len(_templates()) <= 6


WORKER = """
import asyncio, os, sys, tempfile
sys.path[:0] = {path!r}
from leases import Lease
from pathlib import Path
from test_templates import _sleep, _read
lease = Lease(Path({logs!r}), path=list(sys.path))
running = lease.begin(_sleep, {child!r})
_read(Path({child!r}))
import psutil
print(*[process.pid for process in psutil.Process().children(recursive=True)], flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_worker_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    import subprocess
    import sys

    child, logs = tmp_path / "child", tmp_path / "logs"
    script = WORKER.format(path=[str(Path(__file__).parent)], logs=str(logs), child=str(child))
    worker = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=False)
    pids = [int(pid) for pid in worker.stdout.split()]
    assert len(pids) >= 4
    assert int(child.read_text()) in pids
    wait_for(lambda: not [pid for pid in pids if (process := OsProcess.of(pid)) and process.is_alive()])


def test_a_process_that_was_killed_while_it_waited_is_none(own_lease: Callable[..., Lease]) -> None:
    lease = own_lease()
    running = lease.begin(os.getpid)
    running.result()

    def waiting() -> OsProcess | None:
        process = lease.templates._bare and lease.templates._bare.waiting
        return process.process if process and process.process.pid else None

    wait_for(lambda: waiting() is not None)
    killed = waiting()
    assert killed is not None
    killed.send(signal.SIGKILL)
    wait_for(killed.is_gone)
    assert lease.status(os.getpid).is_ok()
