"""The order in which things of one host end. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def waves(needs: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """The order to end things in, by what each needs: first what nobody needs, last what all
    need. Those that need each other in a circle go together, at the end."""
    left = {name: set(needed) for name, needed in needs.items()}
    found = []
    while left:
        needed = set[str]().union(*left.values())
        wave = [name for name in left if name not in needed] or list(left)
        found.append(wave)
        for name in wave:
            del left[name]
    return found
