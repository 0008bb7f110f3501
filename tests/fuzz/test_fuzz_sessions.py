"""Sessions that go by no rules, on every file server (see ``sessionmachine``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import profiles
import pytest
import sessionmachine

if TYPE_CHECKING:
    from lab import Lab

EXAMPLES_COUNT = 10
"""Over each kind of connection, beside a server in memory; less beside others, by their pace."""


def test_any_requests_in_any_order(each_kind: Lab) -> None:
    sessionmachine.run(each_kind, profiles.quick(each_kind.examples_count(EXAMPLES_COUNT)))


@pytest.mark.soak
def test_any_requests_in_any_order_for_long(each_kind: Lab) -> None:
    sessionmachine.run(each_kind, profiles.soak())
