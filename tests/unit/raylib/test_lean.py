"""What Ray registers for pydantic and pyarrow waits for their first import. In a process of its own: here they may be
imported by now."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
from importlib.machinery import SourceFileLoader
from ray.util import serialization_addons
from kernel.raylib import lean

registered = []
serialization_addons.apply = registered.append
lean.install()
lean.install()
serialization_addons.apply("first")
serialization_addons.apply("second")
assert registered == [], registered
assert "pyarrow" not in sys.modules and "pydantic" not in sys.modules
lean._NAMES += ("not_installed",)
try:
    import not_installed
except ModuleNotFoundError:
    assert registered == [], registered
import pyarrow
assert registered == ["first", "second"], registered
assert type(pyarrow.__spec__.loader) is type(pyarrow.__loader__) is SourceFileLoader
assert not [finder for finder in sys.meta_path if type(finder).__module__ == "kernel.raylib.lean"]
serialization_addons.apply("third")
assert registered == ["first", "second", "third"], registered
try:
    import pyarrow.nothing
except ModuleNotFoundError:
    print("done")
"""


def test_registered_at_the_first_import() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr


def test_a_server_outside_of_ray_imports_none() -> None:
    """Half of the time that such a process takes to start."""
    script = "import sys, kernel.named.server, kernel.ux.server; assert 'ray' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
