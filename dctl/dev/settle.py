"""Pay what a run owes. What others need who go on is theirs to pay then."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from dctl.dev import debts as books
from dctl.dev.debts import Book, Debts
from dctl.dev.lend import give_back, patiently, reopen, take_down
from dctl.errors import DctlError, LockedError

Say = Callable[[str], None]


def settle(book: Book, say: Say) -> None:
    """All that the run owes; never raises for what cannot be put back."""
    owed = book.read()
    try:
        if owed is not None:
            patiently(lambda: _settle(book, owed, say))
    except DctlError as error:
        say(
            f"not all could be put back: {error.message}" + (f"\n  {error.hint}" * bool(error.hint))
        )
    finally:
        book.end()


def adopt(folder: Path, own: Book, debts: Debts, services: Iterable[str], say: Say) -> None:
    """Take over what runs owe that were cut off altogether, and write down what is owed by now.
    LockedError when another run has one of the `services`."""
    with books.alone(folder):
        alive, cut_off = books.others(folder, own.path)
        taken = {name for other in alive if (owed := other.read()) for name in owed.lent}
        if both := sorted(taken & {*services}):
            raise LockedError(
                f"{', '.join(both)} is run by another dctl run", hint="end that first"
            )
        for book in cut_off:
            owed = book.read()
            if owed is not None and owed.lent:
                with suppress(DctlError):
                    give_back(reopen(owed.spec, folder, say), owed, say)
            if owed is not None and not owed.throwaway:
                _inherit(debts, owed)
            book.end()
        own.write(debts)


def _settle(book: Book, owed: Debts, say: Say) -> None:
    folder = book.path.parent
    cluster = reopen(owed.spec, folder, say)
    if owed.throwaway:
        cluster.end("clean")
        shutil.rmtree(owed.throwaway, ignore_errors=True)
        return
    if owed.lent:
        give_back(cluster, owed, say)
    with books.alone(folder):
        alive, _ = books.others(folder, book.path)
        heir = next((other for other in alive if other.read()), None)
        if heir is not None:
            theirs = heir.read()
            assert theirs is not None
            _inherit(theirs, owed)
            heir.write(theirs)
            return
        take_down(cluster, owed, say)


def _inherit(own: Debts, owed: Debts) -> None:
    """Whoever ends last takes down what the first one raised: to them all of it was there."""
    if not owed.raised:
        return
    own.raised = sorted({*own.raised, *owed.raised})
    own.up = [name for name in own.up if name in owed.up]
    own.there = [name for name in own.there if name in owed.there]
