"""The RPC methods of a server's service objects, and how each is run. See ``rpcsrv`` for what handlers look like."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
from google.protobuf.message import DecodeError, Message

from sigmaos_ray import serr
from sigmaos_ray.deadlines import within
from sigmaos_ray.rpcsrv import RpcContext, is_immediate
from sigmaos_ray.sessp.eager import own_task

if TYPE_CHECKING:
    from collections.abc import Sequence


_SHAPE: Final = "an RPC method is method(self, ctx, request: SomeMessage) -> SomeMessage"


class _Method(msgspec.Struct, frozen=True):
    """A handler, and how it is to be called."""

    handler: Callable[[RpcContext, Any], Any]
    request_class: type[Message]
    is_async: bool
    is_immediate: bool


class RpcTable:
    """The methods of a server's service objects, by ``Class.Method``. ``close`` it. Used from the server's loop;
    handlers that are no coroutines run in threads of its own, ``threads_max`` at a time, and the others wait for
    one."""

    def __init__(self, services: Sequence[object], threads_max: int) -> None:
        self._methods: dict[str, _Method] = {}
        # Its own, not the loop's: handlers may block for long, and all else that uses the loop's threads would wait for
        # them.
        self._threads = ThreadPoolExecutor(threads_max, thread_name_prefix="rpc-handler")
        for service in services:
            self._register(service)

    def _register(self, service: object) -> None:
        class_name = type(service).__name__
        for name, handler in inspect.getmembers(service, inspect.ismethod):
            if not name.startswith("_"):
                self._methods[f"{class_name}.{name}"] = _describe(f"{class_name}.{name}", handler)

    def has(self, name: str) -> bool:
        """Whether there is a method ``Class.Method`` of that name."""
        return name in self._methods

    def call(self, name: str, argument: bytes, ctx: RpcContext) -> Message | Coroutine[Any, Any, Message]:
        """Runs one method: the reply of one that answers at once, or what to await for it. NotFound for an unknown one,
        Inval for an argument that is not its message, Timeout past the caller's time. What the handler raises passes as
        it is."""
        method = self._methods.get(name)
        if method is None:
            raise serr.NotFound(name, "no such RPC method")
        request = _parse_argument(name, method, argument)
        begun: Any
        if method.is_immediate:
            begun = method.handler(ctx, request)
            if isinstance(begun, Message) or not isinstance(begun, Awaitable):
                return _check_reply(name, begun)
        elif method.is_async:
            begun = method.handler(ctx, request)
        else:
            begun = self._in_thread(method.handler, ctx, request)
        return _finish(name, begun, ctx)

    async def _in_thread(self, handler: Callable[..., object], ctx: RpcContext, request: Message) -> object:
        # As asyncio.to_thread does it: the task's context variables hold in the thread.
        call = partial(contextvars.copy_context().run, handler, ctx, request)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def close(self) -> None:
        """Blocking handlers that run, run on; those that wait for a thread, end."""
        self._threads.shutdown(wait=False, cancel_futures=True)


async def _finish(name: str, begun: Awaitable[object], ctx: RpcContext) -> Message:
    """The reply of a handler that may wait. It is other people's code: it gets a task of its own before it starts (see
    ``sessp.eager``)."""
    try:
        await own_task()
    except BaseException:
        if isinstance(begun, Coroutine):
            begun.close()  # it has not begun, and never does
        raise
    if ctx.timeout_s is None:
        return _check_reply(name, await begun)
    async with within(ctx.remaining_s(), name, "the handler did not end"):
        return _check_reply(name, await begun)


def _parse_argument(name: str, method: _Method, argument: bytes) -> Message:
    """The argument as the handler's message. Inval if it is none."""
    try:
        return method.request_class.FromString(argument)
    except DecodeError as error:
        raise serr.Inval(name, f"not a {method.request_class.__name__}: {error}") from error


def _check_reply(name: str, reply: object) -> Message:
    """What a handler returned. Error if that is no message."""
    if not isinstance(reply, Message):
        raise serr.Error(name, f"the handler returned {type(reply).__name__}, not a message")
    return reply


def _describe(name: str, handler: Callable[..., Any]) -> _Method:
    """A handler as its annotations tell. Inval, when the server is made, for one that cannot be called remotely."""
    parameters = list(inspect.signature(handler).parameters.values())
    if len(parameters) != 2:
        raise serr.Inval(name, _SHAPE)
    request_class = parameters[1].annotation
    if isinstance(request_class, str):
        # Only this one is evaluated: what else the annotations name may be imported for type checkers alone.
        try:
            request_class = eval(request_class, getattr(handler, "__globals__", {}))
        except NameError as error:
            raise serr.Inval(name, f"{_SHAPE}: {error}; import the message's class at run time") from error
    if not (isinstance(request_class, type) and issubclass(request_class, Message)):
        raise serr.Inval(name, _SHAPE)
    is_async, answers_at_once = inspect.iscoroutinefunction(handler), is_immediate(handler)
    if is_async and answers_at_once:
        raise serr.Inval(name, "a coroutine is not immediate")
    return _Method(handler, request_class, is_async, answers_at_once)
