"""Whether the engine stores what it is given, as the answers to writes tell. Pure.

One whose disk is full, or can only be read, answers every question and no write: not even after
that is over, for a stream that failed to write has to be opened anew. One that has reached its own
limit refuses.
"""

from __future__ import annotations

from draft_services.engine.errors import EngineError, Full, Uncertain

# Nodes that choose another leader answer no writes either, for 8 s at most.
PATIENCE = 15.0


class Storing:
    """What the answers so far come to; times in seconds of any clock."""

    def __init__(self) -> None:
        self._full = ""
        self._unanswered_since: float | None = None

    def stored(self) -> None:
        """A write was acknowledged."""
        self._full, self._unanswered_since = "", None

    def lost(self) -> None:
        """The connection broke: that nobody answered says nothing."""
        self._unanswered_since = None

    def unanswered(self, asked: float) -> None:
        """A write that was sent at `asked` had no answer."""
        if self._unanswered_since is None:
            self._unanswered_since = asked

    def full(self, words: str) -> None:
        """A write was refused for want of room."""
        self._full = words

    def note(self, error: EngineError, asked: float, *, connected: bool) -> None:
        """A write that was sent at `asked` failed."""
        if isinstance(error, Full):
            self.full(str(error))
        elif not connected:
            self.lost()
        elif isinstance(error, Uncertain):
            self.unanswered(asked)

    def why_not(self, now: float) -> str:
        """Why nothing is stored, in words; "" as far as it is."""
        if self._full:
            return self._full
        if self._unanswered_since is None or now - self._unanswered_since < PATIENCE:
            return ""
        return (
            f"the engine answers, but has stored nothing for {now - self._unanswered_since:.0f} s: "
            "its disk is full or fails, or most of its nodes are away; see its log, make room there"
            " or mend it, then: dctl infra restart nats"
        )
