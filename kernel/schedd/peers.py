"""The other schedds of a realm, as one schedd asks them about what happened on their machines: through Ray, where no
client comes in between."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import ray

from kernel.raylib import whereis
from sigmaos_ray import serr

if TYPE_CHECKING:
    from collections.abc import Sequence


class ScheddGone(serr.Unreachable):
    """There is no such schedd, and with it its procs have gone."""


class Peers:
    """Their actors, by kernel id. Used from one loop."""

    def __init__(self, realm: str) -> None:
        self._realm = realm
        self._actors: dict[str, Any] = {}

    async def ask(self, kernel_id: str, method: str, *args: object, timeout_s: float) -> Any:
        """One call. ScheddGone if there is no such schedd (any more), Unreachable if it does not answer in time;
        its own errors are raised as they are."""
        try:
            async with asyncio.timeout(timeout_s):
                if kernel_id in self._actors:
                    with contextlib.suppress(ray.exceptions.RayActorError):
                        return await _call(self._actors[kernel_id], method, args)
                # It is gone. Another one may have taken its place, under a handle of its own.
                return await _call(await self._find(kernel_id), method, args)
        except TimeoutError as error:
            raise serr.Unreachable(f"schedd {kernel_id}", f"no answer within {timeout_s:g} s") from error
        except ray.exceptions.RayTaskError as error:
            # What its method raised, where that is an error of ours.
            if isinstance(error.cause, serr.SigmaError):
                raise error.cause from error
            raise serr.Error(f"schedd {kernel_id}", str(error.cause)) from error
        except ray.exceptions.ActorDiedError as error:
            raise ScheddGone(f"schedd {kernel_id}", "it is gone") from error
        except ray.exceptions.RayError as error:
            raise serr.Unreachable(f"schedd {kernel_id}", "it does not answer") from error

    async def _find(self, kernel_id: str) -> Any:
        self._actors.pop(kernel_id, None)
        handle = await asyncio.to_thread(whereis.schedd_of, self._realm, kernel_id)
        if handle is None:
            raise ScheddGone(f"schedd {kernel_id}", "there is none")
        actor = self._actors[kernel_id] = ray.cloudpickle.loads(handle)
        return actor


async def _call(actor: Any, method: str, args: Sequence[object]) -> Any:
    return await asyncio.wrap_future(getattr(actor, method).remote(*args).future())
