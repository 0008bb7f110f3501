"""Debug selectors: what is used is listed by ``sigmaos debug --list``, and what is listed is used."""

from __future__ import annotations

import re
from pathlib import Path

from sigmaos_ray import debug

ROOT = Path(__file__).parents[3]
BY_DEFINITION = {"ALWAYS", "ERROR", "NEVER"}


def test_the_list_is_what_is_used() -> None:
    files = [file for part in ("sigmaos_ray", "kernel", "user") for file in (ROOT / part).rglob("*.py")]
    used = {name for file in files for name in re.findall(r'debug\.selector\("(\w+)"\)', file.read_text())}
    assert used - BY_DEFINITION == set(debug.KNOWN) - BY_DEFINITION, "sigmaos_ray.debug.KNOWN lists the selectors"
