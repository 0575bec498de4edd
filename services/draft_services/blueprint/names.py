"""Many names in their order: a list in pieces, so that a new name moves few of the others."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator

_PIECE = 1000  # names in a piece when it is made; it is cut at twice as many


class Names:
    """A set of names that is read in order."""

    def __init__(self, names: Iterable[str]) -> None:
        ordered = sorted(names)
        self._pieces = [ordered[at : at + _PIECE] for at in range(0, len(ordered), _PIECE)]
        # The last name of each piece, or one that was: it still lies before the next piece.
        self._lasts = [piece[-1] for piece in self._pieces]

    def add(self, name: str) -> None:
        """Put in a name that is not there."""
        if not self._pieces:
            self._pieces, self._lasts = [[name]], [name]
            return
        at = min(bisect_left(self._lasts, name), len(self._lasts) - 1)
        piece = self._pieces[at]
        insort(piece, name)
        if len(piece) > 2 * _PIECE:
            self._pieces[at : at + 1] = [piece[:_PIECE], piece[_PIECE:]]
            self._lasts[at : at + 1] = [piece[_PIECE - 1], piece[-1]]
        else:
            self._lasts[at] = piece[-1]

    def remove(self, name: str) -> None:
        """Take out a name that is there."""
        at = bisect_left(self._lasts, name)
        piece = self._pieces[at]
        del piece[bisect_left(piece, name)]
        if not piece:
            del self._pieces[at], self._lasts[at]

    def starting(self, prefix: str, *, after: str = "") -> Iterator[str]:
        """The names that start with `prefix`, in order; those behind `after` only."""
        first = max(prefix, after)
        at = bisect_left(self._lasts, first)
        while at < len(self._pieces):
            piece = self._pieces[at]
            start = bisect_left(piece, prefix)
            if after:
                start = max(start, bisect_right(piece, after))
            for name in piece[start:] if start else piece:
                if not name.startswith(prefix):
                    return
                yield name
            at += 1
