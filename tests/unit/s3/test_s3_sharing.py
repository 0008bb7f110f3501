"""Threads shared between clients, memory shared between streams, and what is kept on the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel import keeping
from kernel.s3.budget import Budget
from kernel.s3.turns import Turns
from kernel.s3.uploads import UnfinishedUpload, UploadsFile
from sigmaos_ray import instance, serr
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.proc import Proc
from sigmaos_ray.procclnt.spawning import child_spec
from sigmaos_ray.runner import surroundings
from sigmaos_ray.sigmap import Secret

if TYPE_CHECKING:
    from pathlib import Path

# -- threads


def test_one_client_never_has_all_threads() -> None:
    turns: Turns[int] = Turns(16)
    while turns.take("greedy"):
        pass
    assert turns.free == 5
    assert turns.take("other")


def test_threads_go_round_the_clients_that_wait() -> None:
    turns: Turns[str] = Turns(1)
    assert turns.take("a")
    for who, waiter in (("a", "a1"), ("a", "a2"), ("b", "b1")):
        assert not turns.take(who)
        turns.wait(who, waiter)
    turns.withdraw("a", "a1")
    served = [*turns.leave("a"), *turns.leave("a"), *turns.leave("b")]
    assert served == ["a2", "b1"]
    assert turns.free == 1


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60), st.integers(1, 6))
def test_no_thread_is_lost_and_nobody_waits_beside_a_free_one(steps: list[tuple[str, bool]], count: int) -> None:
    turns: Turns[str] = Turns(count)
    running: list[str] = []
    waiting = 0
    for who, begins in steps:
        if not begins:
            if who in running:
                running.remove(who)
                chosen = turns.leave(who)
                running += chosen
                waiting -= len(chosen)
        elif turns.take(who):
            running.append(who)
        else:
            turns.wait(who, who)
            waiting += 1
        assert turns.free + len(running) == count
    while running:
        running += turns.leave(running.pop())
    assert turns.free == count


# -- memory


def test_memory_that_is_used_up_comes_from_who_used_his_longest_ago() -> None:
    budget = Budget(10)
    let_go: list[str] = []

    def let_go_of(name: str) -> None:
        let_go.append(name)
        budget.leave(name)

    for name in ("old", "new"):
        budget.join(name, lambda name=name: let_go_of(name))  # type: ignore[misc]  # mypy cannot infer the default
        assert budget.take(name, 5)
    budget.join("me")
    assert budget.take("me", 4)
    assert let_go == ["old"]
    assert budget.used_bytes == 9
    assert budget.take("me", 5)
    assert let_go == ["old", "new"]
    assert not budget.take("me", 5)
    assert budget.take("me", 5, must=True)
    budget.give("me", 14)
    assert budget.used_bytes == 0
    budget.leave("me")
    budget.leave("me")


# -- the disk


def test_uploads_that_a_server_left_are_found_by_the_next(tmp_path: Path) -> None:
    directory = keeping.opening(tmp_path)
    uploads = UploadsFile(directory)
    for upload in ("one", "two"):
        uploads.began("b", "k", upload)
    uploads.ended("b", "k", "one")
    following = UploadsFile(directory)
    assert following.abandoned == [UnfinishedUpload("b", "k", "two")]
    following.ended("b", "k", "two")
    following.ended("b", "k", "two")
    assert UploadsFile(directory).abandoned == []


# -- credentials


def test_credentials_from_the_environment(tmp_path: Path) -> None:
    assert instance.s3_secrets({}) == ()
    pair = {instance.S3_KEY: "k", instance.S3_SECRET: "s"}
    assert instance.s3_secrets(pair) == (Secret("s3", "k", "s"),)
    assert instance.s3_secrets({**pair, instance.S3_TOKEN: "t"}) == (Secret("s3", "k", "s", "t"),)
    for half in pair:
        with pytest.raises(serr.Inval):
            instance.s3_secrets({half: "x"})
    (tmp_path / "credentials").write_text("[mine]\naws_access_key_id = k\naws_secret_access_key = s%\n")
    files = {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"), "AWS_CONFIG_FILE": str(tmp_path / "no")}
    assert instance.s3_secrets({**files, instance.S3_PROFILE: "mine"}) == (Secret("s3", "k", "s%"),)
    with pytest.raises(serr.Perm, match="other"):
        instance.s3_secrets({**files, instance.S3_PROFILE: "other"})


def test_aws_calls_the_section_of_the_default_profile_differently(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        "".join(
            f"[{name}]\naws_access_key_id = {name}\naws_secret_access_key = s\n"
            for name in ("default", "profile other", "other")
        )
    )
    files = {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"), "AWS_CONFIG_FILE": str(config)}
    for profile, section in (("default", "default"), ("other", "profile other")):
        assert instance.s3_secrets({**files, instance.S3_PROFILE: profile}) == (Secret("s3", section, "s"),)
    # One file for both, as some have it.
    files["AWS_SHARED_CREDENTIALS_FILE"] = str(config)
    assert instance.s3_secrets({**files, instance.S3_PROFILE: "other"}) == (Secret("s3", "other", "s"),)


def test_secrets_are_not_shown() -> None:
    secret = Secret("s3", "key-id", "hidden-word", "hidden-token")
    assert "hidden" not in repr(secret)
    assert "hidden" not in str([secret])


def test_a_child_has_its_parents_secrets() -> None:
    parent = ProcEnv(pid="parent", secrets=(Secret("s3", "k", "s", "t"), Secret("db", "x", "y")))
    spec = child_spec(Proc("example"), parent)
    child = surroundings.proc_env_of(spec, ProcEnv(pid="", kernel_id="node"))
    assert child.secrets == parent.secrets
    assert ProcEnv.from_json(child.to_json()).secrets == parent.secrets
