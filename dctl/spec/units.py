"""Durations and sizes as people write them, and numbers. Pure, and cheap to import."""

from __future__ import annotations

import re

_DURATION = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
# Powers of 1024, like Docker, systemd and NATS; "Mi" is the same thing spelt out.
_SIZE = {"B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}

# Nine digits are more than any real value and keep the arithmetic exact.
_NUMBER = r"\d{1,9}(?:\.\d{1,6})?"
_DURATION_PART = re.compile(rf"({_NUMBER})(ms|[dhms])", re.ASCII)
_DURATION_WHOLE = re.compile(rf"(?:{_NUMBER}(?:ms|[dhms]))+", re.ASCII)
_SIZE_WHOLE = re.compile(rf"({_NUMBER})(?:(B)|([KMGT])i?B?)", re.ASCII)
_BARE = re.compile(r"[-+]?[\d.]+", re.ASCII)


def parse_duration(text: str) -> float:
    """Seconds in "500ms", "5s", "1m30s", "7d"; raises ValueError that says what is wanted."""
    if _DURATION_WHOLE.fullmatch(text):
        parts = _DURATION_PART.findall(text)
        units = [unit for _, unit in parts]
        if units == [unit for unit in _DURATION if unit in units]:
            return round(sum(float(number) * _DURATION[unit] for number, unit in parts), 6)
    if _BARE.fullmatch(text):
        raise ValueError("a duration needs a unit: ms, s, m, h or d, such as 5s or 1m30s")
    raise ValueError("must be a duration such as 500ms, 5s, 1m30s or 7d")


def parse_size(text: str) -> int:
    """Bytes in "512K", "256M", "1.5G"; raises ValueError that says what is wanted."""
    if match := _SIZE_WHOLE.fullmatch(text):
        number, plain, unit = match.groups()
        return int(float(number) * _SIZE[plain or unit])
    if _BARE.fullmatch(text):
        raise ValueError("a size needs a unit: B, K, M, G or T, such as 256M or 2G")
    raise ValueError("must be a size such as 512K, 256M or 2G")


def size_text(size: int) -> str:
    """The shortest of these that is exact: "256M" for 268435456 bytes."""
    unit = max((u for u in _SIZE if size % _SIZE[u] == 0), key=_SIZE.__getitem__) if size else "B"
    return f"{size // _SIZE[unit]}{unit}"


def duration_text(seconds: float) -> str:
    """As a spec says it: "1m30s" for 90, "500ms" for 0.5."""
    left, parts = round(seconds * 1000), []
    for unit, size in _DURATION.items():
        count, left = divmod(left, round(size * 1000))
        parts += [f"{count}{unit}"] if count else []
    return "".join(parts) or "0s"
