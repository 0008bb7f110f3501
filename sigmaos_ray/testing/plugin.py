"""The pytest plugin: ``--start``, ``--path``, ``--keep``, and fixtures ``tstate_path``, ``tstate_all``, ``sc`` (G-11).

One instance serves a whole session: named alone if no test asks for more. Tests share it, so they use names of their
own and remove what they made. Loaded in every run of pytest where the package is installed, hence without an import
that costs.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sigmaos_ray import SigmaClnt
    from sigmaos_ray.perf import Perf
    from sigmaos_ray.testing.tstate import Tstate

_KEPT = pytest.StashKey[list[str]]()
_PERF: pytest.StashKey[Perf | None] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("sigmaos", "SigmaOS")
    group.addoption(
        "--start",
        action="store_true",
        help="start an own instance of SigmaOS for this session (default: use the running one)",
    )
    group.addoption(
        "--keep",
        action="store_true",
        help="keep the logs of an instance that was started, and say where they are",
    )
    group.addoption(
        "--path",
        default="name/",
        metavar="PATHNAME",
        help="the tree that tests of files work in, name/ux/~local/ say (default: name/)",
    )


def pytest_sessionstart(session: pytest.Session) -> None:
    """SIGMAPERF's selector TEST profiles the session's own process."""
    if "TEST_" in os.environ.get("SIGMAPERF", ""):
        from sigmaos_ray.perf.session import opened

        session.config.stash[_PERF] = opened("TEST")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Writes what that profile recorded."""
    perf = session.config.stash.get(_PERF, None)
    if perf is not None:
        perf.done()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Says where logs are that were kept."""
    for directory in config.stash.get(_KEPT, []):
        terminalreporter.write_line(f"logs of the instance: {directory}")


@pytest.fixture(scope="session")
def tstate_all(pytestconfig: pytest.Config) -> Iterator[Tstate]:
    """An instance with all services: with ``--start`` one of the session's own, else the one that runs."""
    yield from _tstate(pytestconfig, "name/s3/")


@pytest.fixture(scope="session")
def tstate_path(request: pytest.FixtureRequest, pytestconfig: pytest.Config) -> Iterator[Tstate]:
    """An instance with what ``--path`` needs, named at least; ``tstate_path.pathname`` is that path. It is the instance
    of ``tstate_all`` if any test of the session asks for that."""
    pathname: str = pytestconfig.getoption("--path")
    if any("tstate_all" in getattr(item, "fixturenames", ()) for item in request.session.items):
        tstate: Tstate = request.getfixturevalue("tstate_all")
        tstate.pathname = pathname
        yield tstate
    else:
        yield from _tstate(pytestconfig, pathname)


@pytest.fixture(scope="session")
def sc(tstate_path: Tstate) -> SigmaClnt:
    """A client of the session's instance. A test that needs more than named asks for ``tstate_all`` as well."""
    return tstate_path.sc


def _tstate(pytestconfig: pytest.Config, pathname: str) -> Iterator[Tstate]:
    """A Tstate for the rest of the session. One that cannot be had fails the test without a traceback: it is no fault
    of the test's."""
    from sigmaos_ray import serr
    from sigmaos_ray.testing.tstate import Tstate

    start = pytestconfig.getoption("--start")
    tstate = Tstate.path(pathname, start=start)
    tstate.keeps_logs = pytestconfig.getoption("--keep")
    try:
        tstate.__enter__()
    except serr.SigmaError as error:
        hint = "" if start else "; run `sigmaos start` first, or pytest with --start"
        pytest.fail(f"{error}{hint}", pytrace=False)
    try:
        yield tstate
    finally:
        tstate.__exit__()
        if tstate.keeps_logs and tstate.kept_logs is not None:
            pytestconfig.stash.setdefault(_KEPT, []).append(str(tstate.kept_logs))
