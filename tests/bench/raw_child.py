"""Answers over a Unix socket with what it was asked: ``raw_child.py thread|loop|frames PATH``.

``thread``: one that blocks; ``loop``: asyncio; ``frames``: asyncio, and each question and answer is a message of plain
connections, decoded and made. Tells that it listens; ends with its input.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import threading

from sigmaos_ray.pb.sessp_pb2 import Frames, Reply
from sigmaos_ray.pb.sigmap_pb2 import Rwriteread
from sigmaos_ray.sessp import plain


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(self.answer(data))

    def answer(self, data: bytes) -> bytes:
        return data


class EchoFrames(Echo):
    def answer(self, data: bytes) -> bytes:
        [request] = Frames.FromString(data[plain.SIZE.size :]).requests
        reply = Reply(seqno=request.seqno, writeread=Rwriteread(frames=request.writeread.frames))
        return plain.message(Frames(replies=[reply]).SerializeToString())


def serve_blocking(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    while data := connection.recv(1 << 16):
        connection.sendall(data)


async def serve(listener: socket.socket, protocol: type[Echo]) -> None:
    await asyncio.get_running_loop().create_unix_server(protocol, sock=listener)
    print(flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    kind, path = sys.argv[1:]
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        if kind == "thread":
            threading.Thread(target=serve_blocking, args=[listening], daemon=True).start()
            print(flush=True)
            sys.stdin.read()
        else:
            asyncio.run(serve(listening, EchoFrames if kind == "frames" else Echo))
