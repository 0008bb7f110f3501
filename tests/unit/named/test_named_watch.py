"""How far a watch has come, as etcd's messages tell: a revision that is too large for one message is not complete."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aetcd import rpc

from kernel.named import etcd as etcd_module

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Stream:
    """Replies that were sent; what was asked is kept."""

    def __init__(self, replies: list[Any]) -> None:
        self.replies = replies
        self.requests: list[Any] = []
        self.is_cancelled = False

    async def write(self, request: Any) -> None:
        self.requests.append(request)

    async def __aiter__(self) -> AsyncIterator[Any]:
        for reply in self.replies:
            yield reply

    def cancel(self) -> None:
        self.is_cancelled = True


def event(revision: int, key: bytes, *, is_delete: bool = False) -> Any:
    kind = rpc.Event.EventType.DELETE if is_delete else rpc.Event.EventType.PUT
    event = rpc.Event(type=kind)
    event.kv.key, event.kv.mod_revision, event.kv.value = key, revision, b"" if is_delete else b"v"
    return event


async def test_how_far_it_has_come() -> None:
    stream = Stream(
        [
            rpc.WatchResponse(created=True),
            rpc.WatchResponse(events=[event(5, b"a"), event(6, b"b")], fragment=True),
            rpc.WatchResponse(events=[event(6, b"c", is_delete=True), event(7, b"d")]),
        ]
    )
    batches = [each async for each in etcd_module._watch_once(stream, b"p", 4, deletes_only=False, timeout_s=5)]
    assert [complete_to for _, complete_to in batches] == [5, 7]
    assert [(change.key, change.value) for changes, _ in batches for change in changes] == [
        (b"a", b"v"),
        (b"b", b"v"),
        (b"c", None),
        (b"d", b"v"),
    ]
    assert stream.requests[0].create_request.start_revision == 5
    assert stream.is_cancelled
