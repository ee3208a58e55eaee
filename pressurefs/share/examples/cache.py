# SPDX-License-Identifier: MIT
"""A program with a cache that it drops when memory is being reclaimed.

python cache.py
"""

import asyncio

from pressurefs import PressureEvent

cache = dict.fromkeys(range(1000), "x" * 1000)


async def main() -> None:
    """Drop the cache at the first event, and exit; a real program would continue."""
    print("caching", flush=True)
    with PressureEvent("low") as pressure:
        async for _ in pressure:
            cache.clear()
            print("dropped", flush=True)
            return


asyncio.run(main())
