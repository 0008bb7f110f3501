"""The suite finds what is wrong with servers that are, and the page for authors of servers is right."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

from sigmaos_ray.testing.conformance import Capabilities

HERE = Path(__file__).parent
TESTS_S = 120

FAILING = {
    "forgets-exclusion": ("TestPuts", {"test_exclusive", "test_an_exclusive_put_has_one_winner"}),
    "opens-what-exists": ("TestFiles", {"test_create_never_opens_what_exists"}),
    "keeps-the-tail": ("TestPuts", {"test_put_replaces_the_whole"}),
    "loses-entries-between-pages": ("TestDirs", {"test_a_large_directory_is_listed_whole"}),
    "tells-no-watches": (
        "TestWatches",
        {"test_each_change_once_in_order", "test_renames", "test_every_watch_hears_everything"},
    ),
    "takes-old-fences": (
        "TestFences",
        {"test_an_old_leader_changes_nothing", "test_an_old_leader_renames_nothing", "test_a_fence_for_one_write"},
    ),
    "keeps-leased-files": ("TestLeases", {"test_the_files_of_a_lease_go_when_it_is_ended", "test_time"}),
    "renames-undeclared": ("(test_in_a_directory or test_mkdir_path)", {"test_in_a_directory"}),
}
"""By what is wrong: what of the suite is run, and which tests of it must fail. Not all of it may."""


def outcomes(report: Path, *args: str) -> dict[str, bool]:
    """Runs pytest in a process of its own. By ``class::test``: did it pass?"""
    # Native tracebacks: pytest parses sources for its own, and Python 3.11 trips over that now and then.
    options = ["-q", "--tb=native", "-p", "no:cacheprovider", f"--junitxml={report}"]
    command = [sys.executable, "-m", "pytest", *options, *args]
    result = subprocess.run(command, cwd=HERE.parents[1], capture_output=True, text=True, timeout=TESTS_S, check=False)
    assert report.exists(), result.stdout + result.stderr
    return {
        f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}": len(case) == 0
        for case in ElementTree.parse(report).iter("testcase")
    }


def test_wrong_servers_fail(tmp_path: Path) -> None:
    chosen = " or ".join(f"({tests} and {kind})" for kind, (tests, _) in FAILING.items())
    ran = outcomes(tmp_path / "report.xml", str(HERE / "wrong_servers.py"), "-k", chosen)
    by_kind: dict[str, dict[str, bool]] = defaultdict(dict)
    for name, passed in ran.items():
        test, _, params = name.partition("::")[2].partition("[")
        kind = next(each for each in FAILING if each in params)
        by_kind[kind][test] = passed
    for kind, (_, tests) in FAILING.items():
        failed = {test for test, passed in by_kind[kind].items() if not passed}
        assert tests <= failed < set(by_kind[kind]), kind


def test_the_page_for_authors_of_servers(tmp_path: Path) -> None:
    """docs/conformance.md: its example, as it stands there, is a test module that passes."""
    (example,) = re.findall(r"```python\n(.*?)```", (HERE.parents[1] / "docs/conformance.md").read_text(), re.DOTALL)
    module = tmp_path / "test_my_server.py"
    module.write_text(example)
    config = tmp_path / "pytest.ini"
    config.write_text("[pytest]\nasyncio_mode = auto\n")
    chosen = "TestFiles or TestRenames or TestPipes"
    ran = outcomes(tmp_path / "report.xml", "-c", str(config), str(module), "-k", chosen)
    assert {name.partition("::")[0] for name in ran} == {"TestFiles", "TestRenames", "TestPipes"}
    assert all(ran.values()), [name for name, passed in ran.items() if not passed]


def test_the_page_names_what_is_declared() -> None:
    text = (HERE.parents[1] / "docs/conformance.md").read_text()
    assert {field.name for field in dataclasses.fields(Capabilities)} <= set(re.findall(r"`(\w+)(?:=False)?`", text))
