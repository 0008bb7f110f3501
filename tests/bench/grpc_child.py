"""A plain grpcio server of the echo messages: ``grpc_child.py plain|aio``. Tells its port; ends with its input."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from user.example_echo_server.echo_pb2 import EchoReply, EchoRequest

METHOD = "/echo.Echo/Echo"
OPTIONS = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]


def handlers(handler: Any) -> Any:
    unary = grpc.unary_unary_rpc_method_handler(
        handler, request_deserializer=EchoRequest.FromString, response_serializer=EchoReply.SerializeToString
    )
    return grpc.method_handlers_generic_handler("echo.Echo", {"Echo": unary})


def plain() -> None:
    server = grpc.server(ThreadPoolExecutor(8), options=OPTIONS)
    server.add_generic_rpc_handlers((handlers(lambda request, context: EchoReply(text=request.text)),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(None).wait()


async def on_asyncio() -> None:
    async def echo(request: EchoRequest, context: object) -> EchoReply:
        return EchoReply(text=request.text)

    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((handlers(echo),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)


if __name__ == "__main__":
    if sys.argv[1] == "aio":
        asyncio.run(on_asyncio())
    else:
        plain()
