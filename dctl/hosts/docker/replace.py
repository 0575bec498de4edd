"""One container for another: made whole beside the old one, which stands until the last moment.

Cut off anywhere, what is left tells by its names how far it went, and the next verb goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from dctl.errors import DctlError
from dctl.hosts.docker.body import seconds
from dctl.hosts.docker.client import Engine
from dctl.hosts.docker.naming import INCOMING, OUTGOING, Found, Listed, asked


def settle(engine: Engine, found: Found, name: str) -> None:
    """Tidy up after a replacement that was cut off: one container is left, under its name."""
    for leftover in found.leftovers:
        end(engine, leftover)
        engine.remove(leftover.id)
    found.leftovers.clear()
    if found.current and found.current.name != name and found.whole:
        engine.rename(found.current.id, name)


def swap(
    engine: Engine, old: Listed | None, new: str, name: str, *, starting: Callable[[], None]
) -> None:
    """Let the container `new` take the place of `old` under `name`; when it does not start, put
    `old` back. `starting` is called right before."""
    if old is not None:
        end(engine, old)
        engine.rename(old.id, name + OUTGOING)
    engine.rename(new, name)
    starting()
    try:
        engine.start(new)
    except DctlError:
        engine.remove(new)
        if old is not None:
            engine.rename(old.id, name)
            if old.alive:
                with suppress(DctlError):  # what matters is why the new one does not start
                    engine.start(old.id)
        raise
    if old is not None:
        engine.remove(old.id)


def make(
    engine: Engine, name: str, create: Callable[[str], str], fill: Callable[[str], None]
) -> str:
    """A new container with its files, on its way to `name`."""
    new = create(name + INCOMING)
    try:
        fill(new)
    except DctlError:
        with suppress(DctlError):
            engine.remove(new)
        raise
    return new


def end(engine: Engine, container: Listed) -> None:
    """End it gracefully; it may have ended already."""
    if container.alive:
        engine.stop(container.id, grace(container))


def grace(container: Listed) -> int:
    """How long it has to end by itself, in seconds."""
    stop = (asked(container.labels) or {}).get("stop") or {}
    return seconds(stop.get("timeout", 10.0))
