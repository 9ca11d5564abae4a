"""Among images that look alike, the one whose bytes can be vouched for; pure.

All properties of an image travel: with Cinder's copies of a volume, with replicators and migration
tools, with a download and a new upload. Such a copy has the product, version and digests of the
true image, and other bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby

from retrofit.config import Target
from retrofit.errors import SourceError
from retrofit.model import DISK_ITEMS, Rejection, Source
from retrofit.source.choose import SourceChoice
from retrofit.source.trust import MirrorState, Trust, establish_trust

LEVELS = tuple(Trust)


@dataclass(frozen=True, kw_only=True)
class VouchedChoice:
    """A choice, and the images that were passed over on the way to it, with the reasons."""

    choice: SourceChoice
    passed_over: tuple[Rejection, ...] = ()

    def warnings(self) -> tuple[str, ...]:
        """Return what an operator has to know: such an image is a copy, or worse."""
        return tuple(
            f"source image {no.subject} is passed over: {no.reason}" for no in self.passed_over
        )


def vouched(choice: SourceChoice, target: Target, mirror: MirrorState) -> VouchedChoice:
    """Return the choice with the best source that reaches the trust which `source.trust` demands.

    Of one product, version and item the strongest level wins, then the first registered. Where no
    image reaches the level, the choice is unchanged: a build from it is refused with the reason.
    """
    passed: list[Rejection] = []
    for _, siblings in groupby(choice.candidates, _version):
        levels: list[tuple[Source, int]] = []
        for source in siblings:
            try:
                level = establish_trust(source, target, mirror).level
            except SourceError as error:
                passed.append(Rejection(subject=source.name, reason=error.message))
            else:
                levels.append((source, LEVELS.index(level)))
        if levels:
            best, strongest = max(levels, key=lambda each: each[1])
            passed += [
                Rejection(subject=each.name, reason=_weaker(best, LEVELS[level]))
                for each, level in levels
                if level < strongest
            ]
            return VouchedChoice(choice=_with(choice, best, passed), passed_over=tuple(passed))
    return VouchedChoice(choice=choice)


def _version(source: Source) -> tuple[str, str, str]:
    image = source.image
    item = (image.property("item_name") if image else None) or DISK_ITEMS[0]
    return source.product, source.version, item


def _weaker(best: Source, level: Trust) -> str:
    return f'it can be trusted as "{level}" alone, {best.name} of the same version further'


def _with(choice: SourceChoice, best: Source, passed: list[Rejection]) -> SourceChoice:
    """Return the choice with another source; every other candidate keeps a reason."""
    reasons = {no.subject: no for no in passed}
    others = [each for each in choice.rejected if each.subject not in {best.name, *reasons}]
    preferred = best.image.name if best.image else best.version
    named = {no.subject for no in others} | {*reasons, best.name}
    beaten = [
        Rejection(subject=each.name, reason=f"{preferred} is preferred")
        for each in choice.candidates
        if each.name not in named
    ]
    rejected = sorted((*others, *passed, *beaten), key=lambda no: (no.subject, no.reason))
    return replace(choice, source=best, rejected=tuple(rejected))
