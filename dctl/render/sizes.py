"""Sizes as people say them."""

from __future__ import annotations


def about(size: float) -> str:
    """Three digits or so: 512 -> "512B", 1_234_567 -> "1.2M"."""
    units = "BKMGT"
    unit = 0
    while size >= 1024 and unit < len(units) - 1:
        size /= 1024
        unit += 1
    return f"{size:.0f}{units[unit]}" if unit == 0 or size >= 100 else f"{size:.1f}{units[unit]}"
