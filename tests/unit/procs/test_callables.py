"""Functions as programs, from a process that has their modules to one that cannot import them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[3]
HELPER: Final = """\
import functools, threading
SCALE = 10
def scaled(argv): return SCALE * len(argv)
@functools.lru_cache(maxsize=7)
def cached(number): return number if number < 2 else cached(number - 1) + cached(number - 2)
class Adder:
    def __init__(self, amount): self.amount = amount
    def __call__(self, argv): return self.amount + len(argv)
    @functools.cached_property
    def half(self): return 4
    def eight(self, argv): return self.half + self.half
    def added(self, argv): return self.amount + 2 * len(argv)
    @staticmethod
    def three(argv): return 3
    @classmethod
    def named(cls, argv): return cls.__name__
def doubling(function):
    @functools.wraps(function)
    def wrapper(argv): return 2 * function(argv)
    return wrapper
"""
LATER: Final = """\
import later_still
from . import sibling
def value(): return later_still.VALUE + sibling.VALUE
"""
RELATIVE: Final = """\
def f(argv):
    from .sibling import VALUE
    from . import later
    return VALUE + later.value()
"""
FILES: Final = {
    "helper.py": HELPER,
    "package/__init__.py": "",
    "package/later.py": LATER,
    "package/sibling.py": "VALUE = 3\n",
    "package/relative.py": RELATIVE,
    "spaced/inner.py": "def f(argv): return 'inner'\n",
    "later_still.py": "VALUE = 4\n",
    "locked.py": "import threading\nLOCK = threading.Lock()\ndef f(argv): return LOCK.locked()\n",
}
MAIN: Final = """\
import functools, sys
from sigmaos_ray import Proc, serr
{code}
try:
    proc = Proc(program)
except serr.Inval as error:
    sys.exit(str(error))
print(repr(proc.source))
sys.stdout.flush()
sys.stdout.buffer.write(proc.pickled)
"""
LOADING: Final = """\
import sys
from sigmaos_ray.proc import callables
program = callables.loads(sys.stdin.buffer.read())
print(repr(program(["a", "b"])))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a script and files beside it."""
    directory = tmp_path / "beside"
    for name, text in FILES.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    return directory


def python(*arguments: str, cwd: Path, data: bytes = b"", path: str = "") -> subprocess.CompletedProcess[bytes]:
    env = {"PYTHONPATH": f"{ROOT}:{path}" if path else str(ROOT)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, env=env, input=data, capture_output=True, timeout=60, check=False)


def dumped(folder: Path, code: str, cwd: Path) -> tuple[bytes, str]:
    """What a script ships, and which file of its working directory it says that it needs."""
    (folder / "script.py").write_text(MAIN.format(code=code))
    done = python(str(folder / "script.py"), cwd=cwd)
    assert done.returncode == 0, done.stderr.decode()
    source, _, pickled = done.stdout.partition(b"\n")
    return pickled, source.decode().strip("'")


def refusal(folder: Path, code: str, cwd: Path) -> str:
    (folder / "script.py").write_text(MAIN.format(code=code))
    done = python(str(folder / "script.py"), cwd=cwd)
    assert done.returncode == 1
    return done.stderr.decode()


def loaded(pickled: bytes, cwd: Path, path: str = "") -> str:
    """What the function returns in a process that cannot import what it was made of."""
    done = python("-c", LOADING, cwd=cwd, data=pickled, path=path)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


@pytest.mark.parametrize(
    ("code", "result"),
    [
        ("import helper\nprogram = helper.scaled", "20"),
        ("import helper\ndef program(argv): return helper.scaled(argv) + 1", "21"),
        ("from helper import scaled\nprogram = lambda argv: scaled(argv) + 1", "21"),
        ("import helper\nprogram = functools.partial(helper.scaled)", "20"),
        ("def f(a, b, c): return a, b, len(c)\nprogram = functools.partial(functools.partial(f, 1), 2)", "(1, 2, 2)"),
        ("import helper\nprogram = helper.doubling(helper.scaled)", "40"),
        ("import helper\n@helper.doubling\ndef program(argv): return len(argv)", "4"),
        ("import helper\nprogram = lambda argv: helper.cached(10 * len(argv))", "6765"),
        ("from helper import cached\nprogram = lambda a: [cached(9), cached.cache_parameters()['maxsize']]", "[34, 7]"),
        ("@functools.cache\ndef f(n): return n if n < 2 else f(n - 1) + f(n - 2)\nprogram = lambda a: f(20)", "6765"),
        ("@functools.cache\ndef f(): return 5\n@functools.cache\ndef g(): return f()\nprogram = lambda a: g()", "5"),
        ("import helper\nprogram = helper.Adder(5)", "7"),
        ("import helper\nprogram = helper.Adder(5).added", "9"),
        ("import helper\nprogram = helper.Adder.three", "3"),
        ("import helper\nprogram = helper.Adder.named", "'Adder'"),
        ("import helper\nprogram = helper.Adder(5).eight", "8"),
        ("def program(argv):\n    import helper\n    return helper.scaled(argv)", "20"),
        ("def program(argv):\n    from package import later\n    return later.value()", "7"),
        ("def program(argv):\n    import package.later as it\n    return it.value()", "7"),
        ("from package.relative import f as program", "10"),
        ("import spaced.inner\nprogram = lambda argv: spaced.inner.f(argv)", "'inner'"),
        ("def program(argv):\n    import spaced.inner\n    return spaced.inner.f(argv)", "'inner'"),
        ("def program(argv):\n    import locked\n    return locked.f(argv)", "False"),
        ("def program(argv):\n    try: import nowhere\n    except ImportError: return 'without'", "'without'"),
    ],
)  # fmt: skip
def test_what_a_function_reaches_travels(folder: Path, tmp_path: Path, code: str, result: str) -> None:
    """X-35."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    pickled, source = dumped(folder, code, elsewhere)
    assert source == ""
    assert loaded(pickled, elsewhere) == result


@pytest.mark.parametrize(
    "code",
    [
        "import helper\nprogram = helper.scaled",
        "import helper\nprogram = functools.partial(helper.scaled)",
        "import helper\nprogram = lambda argv: helper.scaled(argv)",
        "import helper\nprogram = helper.Adder(18)",
        "def program(argv):\n    import helper\n    return helper.scaled(argv)",
    ],
)
def test_what_is_in_the_working_directory_is_needed_of_it(folder: Path, tmp_path: Path, code: str) -> None:
    """X-35: it travels by name, however the function reaches it."""
    pickled, source = dumped(folder, code, folder)
    assert source == str(folder / "helper.py")
    assert loaded(pickled, tmp_path, str(folder)) == "20"
    assert python("-c", LOADING, cwd=tmp_path, data=pickled).returncode == 1


def test_what_cannot_travel_is_told_with_its_name(folder: Path, tmp_path: Path) -> None:
    (folder / "built.so").write_bytes(b"")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    told = refusal(folder, "import locked\nprogram = lambda argv: locked.f(argv)", elsewhere)
    assert "locked.LOCK: cannot pickle '_thread.lock' object" in told
    told = refusal(folder, "def program(argv):\n    import built\n    return built.f()", elsewhere)
    assert "workers cannot import module built: " in told
    assert "SIGMAOS_WORKING_DIR" in told


def test_sources_of_one_program_are_not_the_next_ones(folder: Path, tmp_path: Path) -> None:
    """In a worker's own process, where one follows the other."""
    code = "def program(argv):\n    import helper\n    return helper.SCALE"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    first, _ = dumped(folder, code, elsewhere)
    (folder / "helper.py").write_text("SCALE = 12\n")
    second, _ = dumped(folder, code, elsewhere)
    loading = f"""\
from sigmaos_ray.pb.proc_pb2 import ProcSpec
from sigmaos_ray.runner import program
import pickle
for pickled in {[first, second]!r}:
    print(program.load(ProcSpec(pickled=pickled))([]))
program.load(ProcSpec(pickled=pickle.dumps(print)))
import helper
"""
    done = python("-c", loading, cwd=elsewhere)
    assert done.stdout.split() == [b"10", b"12"]
    assert b"No module named 'helper'" in done.stderr
