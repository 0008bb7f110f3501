"""Sessions that go by no rules, on every file server (see ``sessionmachine``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import profiles
import pytest
import sessionmachine

if TYPE_CHECKING:
    from lab import Lab

EXAMPLES = {"memfs": 20, "named": 15, "s3": 5, "ux": 10}


@pytest.mark.parametrize("lab", sorted(EXAMPLES), indirect=True)
def test_any_requests_in_any_order(lab: Lab, request: pytest.FixtureRequest) -> None:
    name = request.node.callspec.params["lab"]
    sessionmachine.run(lab, profiles.quick(EXAMPLES[name]))


@pytest.mark.soak
def test_any_requests_in_any_order_for_long(lab: Lab) -> None:
    sessionmachine.run(lab, profiles.soak())
