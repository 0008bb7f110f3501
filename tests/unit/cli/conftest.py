"""The command line is called as a shell does it: by its arguments, with its exit code and what it prints."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from fakeclnt import FakeClnt
from outcome import Outcome

from sigmaos_ray.cli import context, files, main, procs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state directory of its own, which does not exist yet."""
    directory = tmp_path / "state"
    for name in ("SIGMAOS_NAMED", "SIGMAOS_REALM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SIGMAOS_STATE_DIR", str(directory))
    yield directory
    context.options.__init__()  # type: ignore[misc]


@pytest.fixture
def sigmaos(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    def run(*arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["sigmaos", *arguments])
        with pytest.raises(SystemExit) as left:
            main.main()
        captured = capsys.readouterr()
        return Outcome(left.value.code, captured.out, captured.err)

    return run


@pytest.fixture
def clnt(monkeypatch: pytest.MonkeyPatch) -> FakeClnt:
    """What the commands get for a client."""
    fake = FakeClnt()
    for module in (files, procs):
        monkeypatch.setattr(module, "client", lambda: fake)
    return fake
