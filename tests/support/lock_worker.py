"""Takes a lock again and again, and writes down when it had it: a process that a test may kill.

`python -m tests.support.lock_worker BLUEPRINT LOCK TTL FILE SEED`. Each line that it adds to FILE
is `enter|leave|lost NAME TOKEN TIME`, by the clock that all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
import time

from chassis.clients import connect
from chassis.errors import LockError
from chassis.locks import Locks


async def main(blueprint: str, lock: str, ttl: float, file: str, seed: str) -> None:
    out = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    name = str(os.getpid())
    rng = random.Random(seed)

    def note(what: str, token: int) -> None:
        os.write(out, f"{what} {name} {token} {time.monotonic()}\n".encode())

    async with connect(blueprint) as channel:
        locks = Locks(lambda: channel, name)
        while True:
            with contextlib.suppress(LockError):
                async with locks.hold(lock, ttl=ttl) as held:
                    note("enter", held.token)
                    try:
                        await asyncio.sleep(rng.uniform(0, ttl))
                    finally:
                        note("lost" if held.lost.is_set() else "leave", held.token)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4], sys.argv[5]))
