"""Connections to nobody, which answer what they were told to: for whoever goes through a call without a server."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from sigmaos_ray.sessp import plain
from sigmaos_ray.sessp.aside import AsideConnection, keep_unbound

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sigmaos_ray.config import Config
    from sigmaos_ray.pb.sessp_pb2 import Frames


class _Scripted(AsideConnection):
    def __init__(self, target: str, config: Config, answers: Iterable[Frames]) -> None:
        # Packets: each read gets one of them, though all are there from the beginning.
        ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for frames in answers:
            self._theirs.send(plain.message(frames.SerializeToString()))
        super().__init__(target, config, ours)

    def is_clean(self) -> bool:
        return True

    def close(self) -> None:
        super().close()
        self._theirs.close()


def answer_at(address: str, config: Config, answers: Iterable[Frames]) -> None:
    """The next connection from this process to a server of this machine at ``address`` gets these answers, in their
    order, whatever it sends."""
    keep_unbound(_Scripted(plain.local_name(address), config, answers))
