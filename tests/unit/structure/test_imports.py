"""Imports point one way, and a client is light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from arrows import HEAVY, OURS, ROOF, Import, all_imports, circles, imports_of, unit_of, why_wrong

ROOT = Path(__file__).parents[3]


def _ours(each: Import) -> bool:
    return each.target.split(".")[0] in OURS


def test_imports_point_one_way() -> None:
    wrong = [
        f"{each} ({why})" for each in all_imports(ROOT) if _ours(each) and (why := why_wrong(each.module, each.target))
    ]
    assert not wrong, "\n" + "\n".join(wrong)


def test_no_imports_go_in_circles() -> None:
    """Types included: who must know its caller's type to be read is not a module of its own. Where a callee needs
    its caller, a small ``Protocol`` beside the callee says what of it."""
    found = circles(all_imports(ROOT))
    assert not found, "\n" + "\n".join(map(str, found))


def test_no_client_module_imports_what_is_heavy() -> None:
    wrong = [
        str(each)
        for each in all_imports(ROOT)
        if each.module.startswith("sigmaos_ray")
        and unit_of(each.module) not in ROOF
        and each.target.split(".")[0] in HEAVY
        and not each.type_only
    ]
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize("module", ["sigmaos_ray", "sigmaos_ray.testing.plugin", "user.example"])
def test_what_everybody_imports_is_light(module: str) -> None:
    script = f"import sys, {module}; print([m for m in {HEAVY!r} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("module", "target"),
    [
        ("sigmaos_ray.serr", "sigmaos_ray.sessp.client"),
        ("sigmaos_ray.sessp.client", "sigmaos_ray.fslib"),
        ("sigmaos_ray.fslib.walk", "sigmaos_ray"),
        ("sigmaos_ray.procclnt.clnt", "sigmaos_ray.sigmaclnt"),
        ("sigmaos_ray.procclnt.clnt", "sigmaos_ray.runner.run"),
        ("sigmaos_ray.sigmaclnt", "kernel.named.state"),
        ("kernel.s3.store", "kernel.ux.store"),
        ("kernel.shell", "kernel.named.server"),
        ("kernel.named.server", "kernel.boot.daemon"),
        ("kernel.boot.daemon", "sigmaos_ray.cli.main"),
        ("user.example", "kernel.boot"),
        ("user.example", "sigmaos_ray.testing"),
        ("kernel.schedd.server", "user.example"),
    ],
)
def test_a_wrong_arrow_is_caught(module: str, target: str) -> None:
    assert why_wrong(module, target)


@pytest.mark.parametrize(
    ("module", "target"),
    [
        ("sigmaos_ray.sessp.client", "sigmaos_ray.serr"),
        ("sigmaos_ray.leaderclnt", "sigmaos_ray.electclnt"),
        ("kernel.named.server", "kernel.named.state"),
        ("kernel.boot.daemon", "kernel.named.actor"),
        ("sigmaos_ray.cli.demo", "kernel.boot"),
        ("sigmaos_ray.cli.demo", "sigmaos_ray.testing.corpus"),
        ("user.example", "sigmaos_ray"),
    ],
)
def test_a_right_arrow_passes(module: str, target: str) -> None:
    assert why_wrong(module, target) is None


def test_a_unit_without_a_place_is_an_error() -> None:
    with pytest.raises(KeyError, match=r"sigmaos_ray\.novel has no place"):
        why_wrong("sigmaos_ray.novel", "sigmaos_ray.serr")


def test_circles_are_found_by_any_arrow() -> None:
    sources = {
        "user.a": "from user import b\n",
        "user.b": "def late():\n    import user.c\n",
        "user.c": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from user.a import A\n",
        "user.d": "from user import a, x_pb2\n",
        "user": "import user.d\n",
    }
    known = frozenset(sources)
    imports = [each for name, source in sources.items() for each in imports_of(name, source, f"{name}.py", known)]
    (circle,) = circles(imports)
    assert circle.modules == {"user.a", "user.b", "user.c"}
    assert [(each.module, each.line) for each in circle.imports] == [("user.a", 1), ("user.b", 2), ("user.c", 3)]
    assert "user.c.py:3: user.c imports user.a" in str(circle)


def test_deferred_imports_are_seen() -> None:
    source = (
        "import os\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n"
        "    from kernel.named import state\n"
        "def late():\n"
        "    from sigmaos_ray import serr, Proc\n"
        "    from . import walk\n"
        "    importlib.import_module('kernel.boot')\n"
    )
    known = frozenset({"kernel.named.state", "sigmaos_ray.serr", "sigmaos_ray.fslib.walk"})
    imports = imports_of("sigmaos_ray.fslib.files", source, "sigmaos_ray/fslib/files.py", known)
    assert {(i.target, i.line, i.type_only) for i in imports} == {
        ("os", 1, False),
        ("typing", 2, False),
        ("kernel.named.state", 4, True),
        ("sigmaos_ray.serr", 6, False),
        ("sigmaos_ray", 6, False),
        ("sigmaos_ray.fslib.walk", 7, False),
        ("kernel.boot", 8, False),
    }
