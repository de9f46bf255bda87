"""Sizes in bytes, as the terminal shows them."""

from __future__ import annotations

UNITS = ("B", "kB", "MB", "GB", "TB")


def format_bytes(size: float) -> str:
    """Return a size with its unit, in steps of 1,000: `1.5 GB`."""
    for unit in UNITS[:-1]:
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} {UNITS[-1]}"
