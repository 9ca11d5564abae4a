"""The recorded proof of an image, compared with what the settings demand now; pure."""

from __future__ import annotations

from retrofit.config import Target
from retrofit.model import Image
from retrofit.source.trust import Trust

TRUST_LEVELS = tuple(str(level) for level in Trust)
"""Values of `retrofit_source_trust`, the weakest first."""
VERIFICATION_LEVELS = ("offline", "boot", "full")
"""Levels of verification, the weakest first; `retrofit_verification` begins with one of them."""


def shortfalls(image: Image, target: Target) -> tuple[str, ...]:
    """Return in what an image is proven less than the settings demand now; empty when in nothing.

    A proof that is not recorded, or by a word that is not known, counts as none. `source.trust =
    "auto"` demands nothing of an image that stands: it is the strongest level that its source had.
    """
    found = []
    trust, verified = (
        image.property("retrofit_source_trust"),
        image.property("retrofit_verification"),
    )
    demanded = target.source.trust
    if demanded != "auto" and _rank(trust, TRUST_LEVELS) < TRUST_LEVELS.index(demanded):
        found.append(
            f'image {image.id} is of a source trusted as "{trust or "nothing"}", source.trust is'
            f' "{demanded}"'
        )
    level = (verified or "").partition("-")[0]
    wanted = target.verify.level
    if _rank(level, VERIFICATION_LEVELS) < VERIFICATION_LEVELS.index(wanted):
        found.append(
            f'image {image.id} was verified as "{verified or "nothing"}", verify.level is'
            f' "{wanted}"'
        )
    return tuple(found)


def _rank(word: str | None, levels: tuple[str, ...]) -> int:
    """Return the place of a level, counted from the weakest; -1 for an unknown one."""
    return levels.index(word) if word in levels else -1
