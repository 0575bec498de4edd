"""Text that others wrote, made fit for a terminal."""

from __future__ import annotations

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def printable(text: str, *, keep: str = "") -> str:
    """`text` with every control character replaced, except those in `keep`.

    Somebody's data must not move the cursor, set the title or otherwise steer the terminal.
    """
    return "".join(c if c.isprintable() or c in keep else _REPLACEMENT for c in text)


def shorten(text: str, width: int) -> str:
    """`text` cut to `width` characters, the last one an ellipsis where something was cut."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"
