"""Binary units, in bytes, and sizes for people."""

from __future__ import annotations

MEBIBYTE = 1024**2
GIBIBYTE = 1024**3


def size_in_words(number: int) -> str:
    """Return a number of bytes for people."""
    amount, unit = float(number), "bytes"
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            break
        amount /= 1024
    return f"{amount:.0f} {unit}" if unit == "bytes" or amount >= 10 else f"{amount:.1f} {unit}"
