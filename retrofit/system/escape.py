"""What others wrote, as text that does nothing to a terminal but be read."""

from __future__ import annotations

LAYOUT = "\n\t"


def visible(text: str) -> str:
    """Write out every character that is not seen, but line ends and tabs, as Python escapes it.

    Names, properties and messages come from whoever can write into Glance, Octavia or a mirror. A
    terminal obeys control characters of C0 and C1, and shows text in another order after marks of
    direction.
    """
    if text.isprintable():
        return text
    return "".join(
        letter
        if letter.isprintable() or letter in LAYOUT
        else letter.encode("unicode_escape", "surrogatepass").decode()
        for letter in text
    )
