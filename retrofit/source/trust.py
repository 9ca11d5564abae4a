"""What must vouch for the bytes of a source, and whether they are those; pure.

Anybody who may write into a trusted project can make an image with every property that the
synchroniser sets, its digests included. Only a signature tells such an image from a true one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from retrofit.config import Target
from retrofit.errors import SourceError
from retrofit.model import DISK_ITEMS, Image, Listing, Source, StreamItem

DIGEST_FORMS = {"sha512": 128, "sha256": 64, "md5": 32}
"""Digests that may vouch for bytes, and their length in hex."""


class Trust(StrEnum):
    """Who vouches for the bytes, the weakest first."""

    OWNER = "owner"
    DIGEST = "digest"
    SIGNED = "signed"


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What the configured mirror offers: a listing, or why there is none; neither without one."""

    listing: Listing | None = None
    trouble: SourceError | None = None


@dataclass(frozen=True, kw_only=True)
class Vouched:
    """What the bytes of a source have to be: digests in hex by algorithm, and a size in bytes.

    `by` names who says so, `note` tells an operator how far the source is trusted, and why.
    """

    level: Trust
    by: str
    note: str
    hashes: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None


@dataclass(frozen=True, kw_only=True)
class _Unreachable:
    """A level that this source cannot reach, and why."""

    reason: str
    hint: str

    def error(self, source: Source, level: Trust) -> SourceError:
        return SourceError(
            f'source image {source.name} cannot be trusted as "{level}": {self.reason}',
            hint=self.hint,
        )


def vouched(source: Source, target: Target, offer: Offer) -> Vouched:
    """Say what vouches for a source, as the settings demand; `auto` is the strongest configured.

    `auto` gives way only where the configuration does not allow more, never because a mirror is
    out of reach or an image does not fit. Raises SourceError when the level cannot be reached, or
    when what Glance knows of the image contradicts it already.
    """
    if source.image is None:
        return _by_mirror(offer)
    demanded = target.source.trust
    if demanded == "owner":
        return _by_owner(source.image, "source.trust asks for no more")
    if demanded == "digest":
        return _required(_by_metadata(source.image), source, Trust.DIGEST)
    no_signatures = _no_signatures(target, offer)
    if demanded == "signed":
        if no_signatures is not None:
            raise _Unreachable(
                reason=no_signatures, hint="use a signed mirror, or lower source.trust"
            ).error(source, Trust.SIGNED)
        return _required(_by_index(source, offer), source, Trust.SIGNED)
    if no_signatures is None:
        signed = _by_index(source, offer)
        if isinstance(signed, Vouched) or target.source.image is None:
            return _required(signed, source, Trust.SIGNED)
        no_signatures = f"{signed.reason}, and source.image names it"
    found = _by_metadata(source.image)
    if isinstance(found, Vouched):
        return Vouched(
            level=found.level,
            by=found.by,
            hashes=found.hashes,
            size=found.size,
            note=f'{found.note}; not "signed": {no_signatures}',
        )
    return _by_owner(source.image, f'{found.reason}; not "signed": {no_signatures}')


def require_same(source: Source, vouched: Vouched, *, hashes: Mapping[str, str], size: int) -> None:
    """Refuse bytes that are not those vouched for. Raises SourceError."""
    different = _difference(vouched, hashes, size)
    if different is not None:
        raise SourceError(
            f"the bytes of source image {source.name} are not those of {vouched.by}: {different}",
            hint="somebody put other bytes in its place, or the copy is damaged: find out who made"
            " it, delete it, and let the synchroniser fetch it again; where the synchroniser itself"
            ' changes images on purpose (--modify-hook), set source.trust = "owner"',
        )


def _difference(vouched: Vouched, hashes: Mapping[str, str], size: int | None) -> str | None:
    if vouched.size is not None and size is not None and size != vouched.size:
        return f"it has {size} bytes, expected {vouched.size}"
    for algorithm in DIGEST_FORMS:
        expected, found = vouched.hashes.get(algorithm), hashes.get(algorithm)
        if expected is not None and found is not None and expected != found:
            return f"{algorithm} is {found}, expected {expected}"
    return None


def _required(found: Vouched | _Unreachable, source: Source, level: Trust) -> Vouched:
    if isinstance(found, _Unreachable):
        raise found.error(source, level)
    # Glance computed what it says of the bytes: what differs already need not be downloaded.
    require_same(source, found, hashes=source.hashes, size=source.size or found.size or 0)
    return found


def _by_owner(image: Image, why: str) -> Vouched:
    return Vouched(
        level=Trust.OWNER,
        by=f"project {image.owner}",
        note=f'source trusted as "owner", project {image.owner}: {why}',
    )


def _by_mirror(offer: Offer) -> Vouched:
    """Vouch for an item: its digest is checked anyway, the question is who signed it."""
    listing = offer.listing
    if listing is None:
        raise offer.trouble or SourceError("no mirror was read", hint="set mirror.url")
    if listing.signed_by is None:
        return Vouched(
            level=Trust.DIGEST,
            by=f"the unsigned index of {listing.where}",
            note=f'source trusted as "digest": the index of {listing.where} is not signed'
            " (mirror.allow_unsigned)",
        )
    return Vouched(
        level=Trust.SIGNED,
        by=f"the signed index of {listing.where}",
        note=f'source trusted as "signed": {listing.where}, key {listing.signed_by}',
    )


def _no_signatures(target: Target, offer: Offer) -> str | None:
    """Say why the configuration allows no signatures; None when it does."""
    if target.mirror.url is None:
        return "mirror.url is not set"
    if target.mirror.effective_keyring is None:
        return "mirror.keyring is not set"
    if offer.listing is not None and offer.listing.signed_by is None:
        return "the mirror is not signed (mirror.allow_unsigned)"
    return None


def _by_index(source: Source, offer: Offer) -> Vouched | _Unreachable:
    """Vouch by the signed entry of the same product, version and item."""
    listing, image = offer.listing, source.image
    if listing is None or image is None:
        trouble = offer.trouble or SourceError("no mirror was read", hint="set mirror.url")
        raise SourceError(
            f'source image {source.name} cannot be trusted as "signed": {trouble.message}',
            hint=trouble.hint,
        ) from trouble
    wanted = image.property("item_name") or DISK_ITEMS[0]
    entry = next(
        (
            item
            for item in listing.items
            if (item.product, item.version, item.name) == (source.product, source.version, wanted)
        ),
        None,
    )
    if entry is None:
        return _Unreachable(
            reason=f"the signed index of {listing.where} has no {wanted} of {source.product}"
            f" {source.version}",
            hint="if the mirror dropped this version, let the synchroniser fetch a current one;"
            ' if it never had it, somebody made this image up. source.trust = "digest" asks less',
        )
    found = Vouched(
        level=Trust.SIGNED,
        by=f"{entry.product} {entry.version} in the signed index of {listing.where}",
        note=f'source trusted as "signed": the index of {listing.where}, key {listing.signed_by}',
        hashes=_digests_of(entry),
        size=entry.size,
    )
    return _converted(image, entry.ftype, found) or found


def _digests_of(entry: StreamItem) -> dict[str, str]:
    return {"sha256": entry.sha256, **({"md5": entry.md5} if entry.md5 else {})}


def _by_metadata(image: Image) -> Vouched | _Unreachable:
    """Vouch by the digests that the synchroniser put down with the image."""
    hint = 'let the synchroniser fetch the image again, or set source.trust = "owner"'
    try:
        said = json.loads(image.property("simplestreams_metadata") or "{}")
        hashes = {
            algorithm: str(said[algorithm]).lower()
            for algorithm, length in DIGEST_FORMS.items()
            if re.fullmatch(rf"[0-9a-fA-F]{{{length}}}", str(said.get(algorithm)))
        }
        size = int(said["size"]) if "size" in said else None
        ftype = str(said.get("ftype"))
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return _Unreachable(reason="its simplestreams_metadata cannot be read", hint=hint)
    if not hashes:
        return _Unreachable(reason="its simplestreams_metadata has no digests", hint=hint)
    found = Vouched(
        level=Trust.DIGEST,
        by="its simplestreams_metadata",
        note='source trusted as "digest": the digests that the synchroniser put down with it',
        hashes=hashes,
        size=size,
    )
    return _converted(image, ftype, found) or found


def _converted(image: Image, ftype: str, found: Vouched) -> _Unreachable | None:
    """Tell an image that was converted on its way into Glance from one with wrong bytes."""
    known = Source(
        image=image, product="", version="", os_distro="", os_version="", architecture=""
    )
    if image.disk_format != "raw" or ftype not in DISK_ITEMS:
        return None
    if _difference(found, known.hashes, image.size) is None:
        return None  # named raw, and yet the very bytes
    return _Unreachable(
        reason=f"it is raw, and {ftype} of the stream is qcow2: the synchroniser converted it, so"
        " that its bytes can match no digest of the stream",
        hint='synchronise without conversion to raw, or set source.origin = "simplestreams"; with'
        ' source.trust = "owner" the owner of the image alone is trusted',
    )
