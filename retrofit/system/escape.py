"""Text of others, made harmless for a terminal."""

from __future__ import annotations

LAYOUT = "\n\t"


def escaped(text: str) -> str:
    """Return the text with unprintable characters, but line ends and tabs, as Python's escapes.

    Names, properties and messages come from all who can write into Glance, Octavia or a mirror. A
    terminal obeys control characters of C0 and C1, and marks of direction reorder what it shows.
    """
    if text.isprintable():
        return text
    return "".join(
        letter
        if letter.isprintable() or letter in LAYOUT
        else letter.encode("unicode_escape", "surrogatepass").decode()
        for letter in text
    )
