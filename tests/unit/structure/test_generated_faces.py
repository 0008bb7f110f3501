"""The blocking faces that are checked in are what ``make faces`` makes of the asynchronous classes."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def make_faces() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_faces", ROOT / "tools" / "make_faces.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_checked_in_is_what_is_made(make_faces: ModuleType) -> None:
    stale = [name for name, text in make_faces.generated().items() if (ROOT / name).read_text() != text]
    assert stale == [], "run `make faces`"


def test_what_has_no_face_is_told(make_faces: ModuleType) -> None:
    """A generator function, say: it is written by hand, and named."""
    source = make_faces.Source("sigmaos_ray.fslib.dirs", "DirCalls", frozenset())
    with pytest.raises(ValueError, match="by hand"):
        make_faces.Output([make_faces.CallsOf("DirFace", (source,), "AsyncFsLib")]).text()
    source = make_faces.Source("sigmaos_ray.fslib.dirs", "DirCalls", frozenset({"gone"}))
    with pytest.raises(ValueError, match="has no gone"):
        make_faces.Output([make_faces.CallsOf("DirFace", (source,), "AsyncFsLib")]).text()
