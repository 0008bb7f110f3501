"""Each promise in docs/guarantees.md names a test that exists."""

from __future__ import annotations

from pathlib import Path

import rulebook
from rulebook import Rule

ROOT = Path(__file__).parents[3]


def _promises(text: str) -> list[str]:
    """Rows of the tables whose last column is tests."""
    rows, is_tested = [], False
    for line, following in zip(text.splitlines(), [*text.splitlines()[1:], ""], strict=True):
        if following.startswith("|---"):
            is_tested = line.endswith("| test |")
        elif is_tested and line.startswith("| "):
            rows.append(line)
    return rows


def test_each_promise_has_its_test() -> None:
    rows = _promises((ROOT / "docs" / "guarantees.md").read_text())
    assert len(rows) > 30
    for row in rows:
        promise, _, test = row.strip("| ").rpartition(" | ")
        assert not rulebook.faults_of(Rule(promise[:60], promise, test))
