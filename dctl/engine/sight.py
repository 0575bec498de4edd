"""What is there: all hosts looked at, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from dctl.errors import DctlError, UnreachableError, WaitTimeoutError
from dctl.hosts.base import Observed, Reader

_PARALLEL = 32  # hosts looked at together: they mostly wait


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen, by host and name. `silent` are the hosts that could not be looked at, and
    why; `unseen` are those and all that hangs on them, such as their images. `gone` are hosts that
    have left the spec and cannot be looked at, and why."""

    things: Sequence[Observed] = ()
    silent: Mapping[str, DctlError] = field(default_factory=dict)
    unseen: frozenset[str] = frozenset()
    gone: Mapping[str, str] = field(default_factory=dict)

    def __add__(self, other: Sight) -> Sight:
        return Sight(
            (*self.things, *other.things),
            {**self.silent, **other.silent},
            self.unseen | other.unseen,
            {**self.gone, **other.gone},
        )


def look(hosts: Mapping[str, Sequence[Reader]]) -> Sight:
    """Look at each host through its readers, one after the other; at all hosts at once. A host
    that does not answer hides no other."""
    if len(hosts) == 1:
        return _gathered(_look(name, readers) for name, readers in hosts.items())
    with ThreadPoolExecutor(min(len(hosts), _PARALLEL) or 1, thread_name_prefix="look") as pool:
        return _gathered(pool.map(_look, hosts.keys(), hosts.values()))


def _look(host: str, readers: Sequence[Reader]) -> Sight:
    seen: list[Observed] = []
    for number, reader in enumerate(readers):
        try:
            seen += reader.observe()
        except (UnreachableError, WaitTimeoutError) as error:
            unseen = frozenset(reader.name for reader in readers[number:])
            return Sight(tuple(seen), {host: error}, unseen)
    return Sight(tuple(seen))


def _gathered(sights: Iterable[Sight]) -> Sight:
    looks = list(sights)
    return Sight(
        tuple(thing for sight in looks for thing in sight.things),
        {host: error for sight in looks for host, error in sight.silent.items()},
        frozenset(name for sight in looks for name in sight.unseen),
    )
