"""Programs that were edited run as edited, in a process that has run them before (X-35)."""

from __future__ import annotations

import importlib
import os
import secrets
import sys
from typing import TYPE_CHECKING

from sigmaos_ray.runner.freshness import Freshness

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_what_changed_is_imported_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """X-35: with all that may hold something of it; what did not change stays as it is."""
    monkeypatch.syspath_prepend(str(tmp_path))
    name = f"edited_{secrets.token_hex(4)}"
    helper = tmp_path / f"{name}_helper.py"
    helper.write_text("WHAT = 'first'\n")
    (tmp_path / f"{name}.py").write_text(f"from {name}_helper import WHAT\n")
    freshness = Freshness([str(tmp_path)])
    before = importlib.import_module(name)
    freshness.note()
    freshness.forget_changed()
    assert importlib.import_module(name) is before
    helper.write_text("WHAT = 'second'\n")
    os.utime(helper, ns=(1, 1))
    freshness.forget_changed()
    assert importlib.import_module(name).WHAT == "second"
    for module in (name, f"{name}_helper"):
        del sys.modules[module]
