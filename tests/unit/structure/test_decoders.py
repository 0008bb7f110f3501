"""Decoders into types are made by ``sigmaos_ray.decoding`` alone; and why."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

RACE = """
from __future__ import annotations
import sys, threading
import msgspec
from sigmaos_ray import decoding

sys.setswitchinterval(1e-6)

def decode(number, together):
    together.wait()
    kind = globals()[f"Outer{number}"]
    assert decoding.json_decoder(kind)(b'{"inner": {"a": 1}, "all": {"k": {"a": 2}}}').all["k"].a == 2

for number in range(100):
    exec(f'''
class Inner{number}(msgspec.Struct, frozen=True):
    a: int = 0
class Outer{number}(msgspec.Struct, frozen=True):
    inner: Inner{number} = Inner{number}()
    all: dict[str, Inner{number}] = {{}}
''')
    together = threading.Barrier(4)
    threads = [threading.Thread(target=decode, args=(number, together)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print("survived")
"""


def test_nobody_else_makes_them() -> None:
    makes = re.compile(r"\.Decoder\(|msgspec\.convert\(|decode\([^\n]*\btype=")
    files = [file for part in ("kernel", "sigmaos_ray", "user") for file in (ROOT / part).rglob("*.py")]
    makers = {str(file.relative_to(ROOT)) for file in files if makes.search(file.read_text())}
    assert makers == {"sigmaos_ray/decoding.py"}


def test_many_threads_that_meet_a_type_at_once() -> None:
    """With msgspec's own decoders most runs of this end by a segmentation fault."""
    result = subprocess.run(
        [sys.executable, "-c", RACE], capture_output=True, text=True, timeout=60, cwd=ROOT, check=False
    )
    assert result.stdout == "survived\n", result.stderr
