"""A lease's end of the socket between it and its proc's process."""

from __future__ import annotations

import select
import socket

from sigmaos_ray.pb import proc_pb2 as pb
from sigmaos_ray.sessp import plain


class Agent:
    """The lease's end of the socket."""

    def __init__(self) -> None:
        self.socket, self.theirs = socket.socketpair()
        self.socket.settimeout(10)
        self._cutter = plain.Cutter(1 << 24)

    def words(self, count: int) -> list[pb.ProcWord]:
        """The next so many words; blocks for them."""
        words: list[pb.ProcWord] = []
        while len(words) < count:
            words += [pb.ProcWord.FromString(bytes(each)) for each in self._cutter.cut(self.socket.recv(1 << 16))]
        assert len(words) == count
        return words

    def word(self) -> pb.ProcWord:
        return self.words(1)[0]

    def is_silent(self) -> bool:
        return not select.select([self.socket], [], [], 0)[0]

    def evict(self) -> None:
        self.socket.send(b"\0")

    def close(self) -> None:
        self.socket.close()
        self.theirs.close()
