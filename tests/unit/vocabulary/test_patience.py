"""How long clients go on trying, beside how long what they wait for may take."""

from __future__ import annotations

import pytest

from sigmaos_ray.config import LOCAL, REMOTE, Config


@pytest.mark.parametrize("config", [LOCAL, REMOTE], ids=["local", "remote"])
def test_retries_outlast_a_failover_of_named(config: Config) -> None:
    """A leader that is lost is replaced once its lease is over, and its successor needs a second (E-6)."""
    assert config.walk.patience_s > config.lease.election_ttl_s + 1


@pytest.mark.parametrize("config", [LOCAL, REMOTE], ids=["local", "remote"])
def test_a_broken_connection_can_be_resumed_while_the_session_lives(config: Config) -> None:
    assert 0 < config.session.resume_timeout_s <= config.session.session_timeout_s
