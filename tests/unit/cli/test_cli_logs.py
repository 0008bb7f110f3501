"""``sigmaos logs``: which files it means, and where it goes on when it follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sigmaos_ray.cli import system

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from outcome import Outcome


@pytest.fixture
def logs(state_dir: Path) -> Path:
    directory = state_dir / "logs"
    (directory / "procs").mkdir(parents=True)
    for name in ("boot", "named-sigma-00000001", "procs/example-12", "procs/example-123"):
        (directory / f"{name}.log").write_text(f"line of {name}\n")
    return directory


@pytest.mark.parametrize(
    ("which", "printed"),
    [
        ("boot", "line of boot\n"),
        ("named", "line of named-sigma-00000001\n"),
        ("example-12", "line of procs/example-12\n"),
    ],
)
def test_one_log(sigmaos: Callable[..., Outcome], logs: Path, which: str, printed: str) -> None:
    assert sigmaos("logs", which) == (0, printed, "")


def test_several_logs_have_headers(sigmaos: Callable[..., Outcome], logs: Path) -> None:
    out = sigmaos("logs", "example").out
    assert out.startswith("========== example-12 ==========\nline of procs/example-12\n========== example-123")
    assert sigmaos("logs").out.count("==========") == 8


@pytest.mark.parametrize("which", ["nosuch", "boo", "../boot", "*"])
def test_no_such_log(sigmaos: Callable[..., Outcome], logs: Path, which: str) -> None:
    sigmaos("logs", which).failed_with(1, "no such log")


def test_following_goes_on_where_it_was_and_sees_new_files(
    sigmaos: Callable[..., Outcome], logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def grow(_pause_s: float, passes: list[int] = []) -> None:  # noqa: B006  # the count of passes
        passes.append(1)
        if len(passes) > 1:
            raise KeyboardInterrupt
        with (logs / "procs/example-12.log").open("a") as file:
            file.write("more\n")
        (logs / "procs/example-7.log").write_text("new\n")

    monkeypatch.setattr(system.time, "sleep", grow)
    outcome = sigmaos("logs", "-f", "example")
    assert outcome.code == 130
    assert outcome.out.endswith("line of procs/example-123\nmore\nnew\n")
