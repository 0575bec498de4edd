"""What a container printed, across its restarts and the container that comes after it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from dctl.hosts.docker.client import Engine
from dctl.hosts.docker.observed import epoch

_LOOK = 0.2  # seconds between two looks for more


def tail(engine: Engine, container: str, lines: int) -> list[str]:
    """The last `lines` lines."""
    return [line for _, line in _end(engine, container, lines)] if lines else []


def follow(engine: Engine, find: Callable[[], str | None], lines: int) -> Iterator[str]:
    """The last lines and then every further one, for as long as it is asked for more. `find`
    names the container that counts now."""
    container, last = find(), ""
    if container:
        end = _end(engine, container, max(lines, 1))
        last = end[-1][0] if end else ""
        yield from (line for _, line in end[len(end) - min(lines, len(end)) :])
    while True:
        if container:
            # A stream ends with the container's run. The next one begins with whole seconds.
            since = int(epoch(last)) if last else 0
            for stamp, line in _lines(engine.log(container, since=since, follow=True)):
                if stamp > last:
                    last = stamp
                    yield line
        time.sleep(_LOOK)
        container = find()


def _end(engine: Engine, container: str, lines: int) -> list[tuple[str, str]]:
    return list(_lines(engine.log(container, last=lines)))[-lines:]


def _lines(entries: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Whole lines: the engine cuts long ones into parts."""
    begun = ""
    stamp = ""
    for stamp, text in entries:
        begun += text
        if begun.endswith("\n"):
            yield stamp, begun.rstrip("\r\n")
            begun = ""
    if begun:
        yield stamp, begun
