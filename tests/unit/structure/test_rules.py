"""What is cited as a rule is in docs/rules.md, and each rule there has a test that exists, or says why it has none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import rulebook
from rulebook import ROOT, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXTS = ("sigmaos_ray", "kernel", "user", "tests", "docs", "protos", "tools", "README.md", "CHANGELOG.md")
ENDINGS = {".py", ".md", ".proto", ".yml", ".yaml", ".sh", ".js"}
OWN = {Path(__file__), Path(rulebook.__file__)}


def texts() -> Iterator[tuple[Path, str]]:
    """All files that may cite a rule, but for the two that say what a citation looks like."""
    tops = (ROOT / part for part in TEXTS)
    files = (file for top in tops for file in ([top] if top.is_file() else sorted(top.rglob("*"))))
    for file in files:
        if file.suffix in ENDINGS and file not in OWN and "_pb2" not in file.name:
            yield file, file.read_text()


def where(file: Path) -> str:
    return str(file.relative_to(ROOT))


RULES = rulebook.rules_in(rulebook.RULES.read_text())


def test_each_rule_has_one_row() -> None:
    ids = [rule.id for rule in RULES]
    assert len(ids) > 150
    assert sorted(set(ids)) == sorted(ids)


def test_what_is_cited_is_a_rule() -> None:
    known = {rule.id for rule in RULES}
    unknown = {where(file): cited for file, text in texts() if (cited := rulebook.cited_in(text) - known)}
    assert not unknown, f"not in docs/rules.md: {unknown}"


def test_each_rule_has_its_tests() -> None:
    faults = [fault for rule in RULES for fault in rulebook.faults_of(rule)]
    assert not faults, faults


def test_what_is_not_in_the_repository_is_not_cited() -> None:
    cited = {where(file): found for file, text in texts() if (found := rulebook.cited_elsewhere(text))}
    assert not cited, f"say what the rule says instead: {cited}"


def test_each_document_that_is_named_is_there() -> None:
    missing = {where(file): names for file, text in texts() if (names := rulebook.missing_documents(text, file.parent))}
    assert not missing, missing


def test_these_tests_can_fail() -> None:
    text = "| rule | what holds | tests |\n|---|---|---|\n| X-1 | All is well. | `ATests::test_a` |\n"
    assert rulebook.rules_in(text) == [Rule("X-1", "All is well.", "`ATests::test_a`")]
    assert rulebook.cited_in("as N-10, FT-2 and KV-3 to KV-8 say; UTF-8, X-1b and SHA-256 are none") == {
        *("N-10", "FT-2", "KV-3", "KV-8")
    }
    assert rulebook.cited_elsewhere("N-3 (R), design 13; section F") == ["(R)", "design 1", "section F"]
    assert not rulebook.cited_elsewhere("the design of this section; semantics of names; section 2")
    assert rulebook.missing_documents("docs/rules.md, nowhere.md", ROOT) == ["nowhere.md"]
    assert rulebook.missing_documents("rules.md", ROOT / "docs") == []


def test_faults_of_rows_are_seen() -> None:
    def faults(tests: str) -> list[str]:
        return rulebook.faults_of(Rule("X-1", "", tests))

    own = "tests/unit/structure/test_rules.py"
    assert not faults(f"`{own}::test_faults_of_rows_are_seen`, `LinkTests::test_links_to_links`")
    assert not faults("not held: nobody needs it")
    absent = (f"`{own}::test_absent`", "`tests/absent.py::test_x`", "`LinkTests::test_x`")
    for wrong in ("", "not held: ", "later", *absent):
        assert len(faults(wrong)) >= 1, wrong
    assert rulebook.tests_in("def test_a(): ...\nclass TestB:\n  async def test_c(self): ...\ndef helper(): ...") == {
        *("test_a", "TestB::test_c")
    }
