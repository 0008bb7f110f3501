"""A node of a binary tree of procs: spawns two children and counts the nodes below. Through asyncio."""

import asyncio

from sigmaos_ray import AsyncSigmaClnt, Proc


async def main(argv: list[str]) -> int:
    height = int(argv[0])
    if height == 0:
        return 1
    async with AsyncSigmaClnt() as sc:
        children = [Proc("programs.tree", [str(height - 1)]) for _ in range(2)]
        for child in children:
            await sc.spawn(child)
        ends = await asyncio.gather(*(sc.wait_exit(child.pid) for child in children))
        counts = [end.data for end in ends if isinstance(end.data, int)]
        assert len(counts) == 2, [str(end) for end in ends]
        return 1 + sum(counts)
