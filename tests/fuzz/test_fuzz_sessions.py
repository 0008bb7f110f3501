"""Sessions that go by no rules, on every file server (see ``sessionmachine``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import profiles
import pytest
import sessionmachine

if TYPE_CHECKING:
    from lab import Lab

EXAMPLES_COUNT = 20
"""Beside a server in memory; less beside others, by their pace."""


def test_any_requests_in_any_order(lab: Lab) -> None:
    sessionmachine.run(lab, profiles.quick(lab.examples_count(EXAMPLES_COUNT)))


@pytest.mark.soak
def test_any_requests_in_any_order_for_long(lab: Lab) -> None:
    sessionmachine.run(lab, profiles.soak())
