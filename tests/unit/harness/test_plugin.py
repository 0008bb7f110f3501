"""The fixtures share one instance per session, and say what to do when there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import serr
from sigmaos_ray.testing import plugin, tstate

if TYPE_CHECKING:
    from typing import Self

pytest_plugins = ["pytester"]

NEEDS_NAMED = "def test_named(tstate_path, sc):\n    assert sc is tstate_path.sc\n"
NEEDS_ALL = "def test_all(tstate_all, sc):\n    assert sc is tstate_all.sc\n"


class FakeTstate:
    """Notes what was asked for."""

    log: list[str] = []
    running = True

    def __init__(self, pathname: str, start: bool) -> None:
        self.what = f"{pathname} start={start}"
        self.pathname = pathname
        self.sc = object()

    @classmethod
    def path(cls, pathname: str, *, start: bool) -> Self:
        return cls(pathname, start)

    def __enter__(self) -> Self:
        if not self.running:
            raise serr.Unreachable("name", "no running instance")
        self.log.append(f"enter {self.what}")
        return self

    def __exit__(self, *_error: object) -> None:
        self.log.append(f"exit {self.what}")


@pytest.fixture
def session(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setattr(tstate, "Tstate", FakeTstate)
    monkeypatch.setattr(FakeTstate, "log", [])
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    return pytester


def run(session: pytest.Pytester, *options: str) -> pytest.RunResult:
    """A session of its own, in this process; the plugin is there already if the package is installed."""
    installed = session._request.config.pluginmanager.has_plugin("sigmaos_ray")
    session.plugins = [] if installed else [plugin]
    return session.runpytest_inprocess("-p", "no:unraisableexception", *options)


def test_named_alone_when_nobody_needs_more(session: pytest.Pytester) -> None:
    session.makepyfile(NEEDS_NAMED)
    run(session, "--start").assert_outcomes(passed=1)
    assert FakeTstate.log == ["enter name/ start=True", "exit name/ start=True"]


def test_one_instance_serves_both(session: pytest.Pytester) -> None:
    session.makepyfile(NEEDS_NAMED + NEEDS_ALL)
    run(session).assert_outcomes(passed=2)
    assert FakeTstate.log == ["enter name/s3/ start=False", "exit name/s3/ start=False"]


def test_a_tree_may_be_named(session: pytest.Pytester) -> None:
    session.makepyfile("def test_ux(tstate_path):\n    assert tstate_path.pathname == 'name/ux/~local/'\n")
    run(session, "--start", "--path", "name/ux/~local/").assert_outcomes(passed=1)
    session.makepyfile("def test_ux(tstate_path, tstate_all):\n    assert tstate_path.pathname == 'name/ux/~any/'\n")
    run(session, "--start", "--path", "name/ux/~any/").assert_outcomes(passed=1)


def test_no_instance_runs(session: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeTstate, "running", False)
    session.makepyfile(NEEDS_NAMED)
    result = run(session)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*no running instance*pytest with --start*"])


def test_where_logs_are_kept_is_told(session: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeTstate, "kept_logs", "/kept/here", raising=False)
    session.makepyfile(NEEDS_ALL)
    assert "/kept/here" not in run(session, "--start").stdout.str()
    run(session, "--start", "--keep").stdout.fnmatch_lines(["logs of the instance: /kept/here"])
