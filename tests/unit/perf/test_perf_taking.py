"""Profiles on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sigmaos_ray.perf.recording import take
from sigmaos_ray.perf.selection import Kind

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("kind", [Kind.MUTEX, Kind.BLOCK])
def test_a_profile_that_is_interrupted_ends(tmp_path: Path, kind: Kind) -> None:
    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        take(kind, 60, 100, tmp_path / "first", wait=interrupted)
    assert take(kind, 1, 100, tmp_path / "second", wait=lambda _: None).how
