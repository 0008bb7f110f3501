"""Reads docs/rules.md, and what other files cite of it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple, TypeGuard

ROOT: Final = Path(__file__).parents[3]
RULES: Final = ROOT / "docs" / "rules.md"
SUITES: Final = ROOT / "sigmaos_ray" / "testing" / "conformance"

_RULE: Final = r"[A-Z]{1,2}-\d{1,2}"
_CITED: Final = re.compile(rf"(?<![\w-]){_RULE}(?![\w-])")
_ROW: Final = re.compile(rf"\| ({_RULE}) \| (.+) \| (.+) \|")
_MODULE_TEST: Final = re.compile(r"`(tests/[\w/]+\.py)::((?:\w+::)?\w+)`")
_SUITE_TEST: Final = re.compile(r"`([A-Z]\w+Tests)::(test_\w+)`")
_DOCUMENT: Final = re.compile(r"[\w./-]*\w\.md\b")
_ELSEWHERE: Final = re.compile(r"\b[Dd]esign,? \d|\b[Ss]ections? [A-Z]\b|\bsemantics\b(?=\.md|'s| [A-Z]-)|\(R\)")


class Rule(NamedTuple):
    """A row: the rule's name, what holds, and which tests hold it."""

    id: str
    text: str
    tests: str


def rules_in(text: str) -> list[Rule]:
    """The rows of docs/rules.md, in order."""
    return [Rule(*match.groups()) for line in text.splitlines() if (match := _ROW.fullmatch(line))]


def cited_in(text: str) -> set[str]:
    """Rules that a text names. Of a range (``N-1 to N-4``) these are its ends."""
    return set(_CITED.findall(text))


def cited_elsewhere(text: str) -> list[str]:
    """What points to sections and marks of documents that are not in the repository."""
    return _ELSEWHERE.findall(text)


def missing_documents(text: str, beside: Path) -> list[str]:
    """Markdown files that a text names and that the repository has neither in its root, nor in ``docs``, nor ``beside``
    the text."""
    places = (ROOT, ROOT / "docs", beside)
    return [name for name in _DOCUMENT.findall(text) if not any((place / name).is_file() for place in places)]


def faults_of(rule: Rule) -> list[str]:
    """What is wrong with a row's tests: none named, or not there."""
    modules, suites = _MODULE_TEST.findall(rule.tests), _SUITE_TEST.findall(rule.tests)
    rest = _SUITE_TEST.sub("", _MODULE_TEST.sub("", rule.tests)).strip(" ,")
    if rest.startswith("not held: "):
        return [] if len(rest) > len("not held: ") else [f"{rule.id}: not held, and no word why"]
    faults = [f"{rule.id}: {file}::{test}" for file, test in modules if test not in _tests_of(ROOT / file)]
    faults += [f"{rule.id}: {suite}::{test}" for suite, test in suites if f"{suite}::{test}" not in _suite_tests()]
    if rest:
        faults.append(f"{rule.id}: {rest!r} is no test")
    if not modules and not suites:
        faults.append(f"{rule.id}: no test")
    return faults


@cache
def _tests_of(file: Path) -> frozenset[str]:
    """Functions of a module, and methods as ``Class::method``, that are tests by their names."""
    return frozenset(tests_in(file.read_text())) if file.is_file() else frozenset()


@cache
def _suite_tests() -> frozenset[str]:
    return frozenset().union(*(_tests_of(file) for file in SUITES.glob("*.py")))


def tests_in(source: str) -> set[str]:
    """Names of a module's tests: ``test_x``, ``TestY::test_x``."""
    body = ast.parse(source).body
    methods = ((node.name, each) for node in body if isinstance(node, ast.ClassDef) for each in node.body)
    tests = {f"{name}::{each.name}" for name, each in methods if _is_test(each)}
    return tests | {node.name for node in body if _is_test(node)}


def _is_test(node: ast.stmt) -> TypeGuard[ast.FunctionDef | ast.AsyncFunctionDef]:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
