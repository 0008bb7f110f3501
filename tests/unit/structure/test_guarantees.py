"""Each promise in docs/guarantees.md names a test that exists."""

from __future__ import annotations

from pathlib import Path

import rulebook
from rulebook import Rule

ROOT = Path(__file__).parents[3]


def test_each_promise_has_its_test() -> None:
    text = (ROOT / "docs" / "guarantees.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.endswith("| test |")]
    assert len(rows) > 30
    for row in rows:
        promise, _, test = row.strip("| ").rpartition(" | ")
        assert not rulebook.faults_of(Rule(promise[:60], promise, test))
