"""Figures that a service tells about itself, as values: who tells them needs no library for it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Literal


class Sizes:
    """How large things were, counted in buckets. `note` costs next to nothing."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.total = 0.0
        self._counts = [0] * (len(self.bounds) + 1)

    def note(self, size: float) -> None:
        """One more."""
        self._counts[bisect_left(self.bounds, size)] += 1
        self.total += size

    @property
    def buckets(self) -> list[tuple[str, int]]:
        """(upper bound, how many were no larger), as Prometheus wants them."""
        names = [*(f"{bound:g}" for bound in self.bounds), "+Inf"]
        return list(zip(names, accumulate(self._counts), strict=True))


Kind = Literal["gauge", "counter"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure now. A counter's name ends in ``_total``. `value` is a number, several by the
    value of one `label`, or `Sizes`."""

    name: str
    help: str
    value: float | Mapping[str, float] | Sizes
    kind: Kind = "gauge"
    label: str = field(default="")


Figures = Callable[[], Iterable[Figure]]
"""Called at each scrape, in the service's own loop."""
