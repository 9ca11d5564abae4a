"""The trust in the bytes of a source: where it comes from, and whether they match; pure.

Any user of a trusted project can make an image with every property that the synchroniser sets,
its digests included. Only a signature distinguishes such an image from a true one.
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
"""Digests that identify bytes, and their length in hex, the strongest first."""


class Trust(StrEnum):
    """Levels of trust in the bytes, the weakest first."""

    OWNER = "owner"
    DIGEST = "digest"
    SIGNED = "signed"


@dataclass(frozen=True, kw_only=True)
class MirrorState:
    """The configured mirror: its listing, or the error of reading it; neither without a mirror."""

    listing: Listing | None = None
    error: SourceError | None = None


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """The origin of a source's bytes: digests in hex by algorithm, and a size in bytes.

    `by` names the origin, for a sentence; `note` is for the operator: the level and its reason.
    """

    level: Trust
    by: str
    note: str
    hashes: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None


@dataclass(frozen=True, kw_only=True)
class _Unreachable:
    """The reason why a source does not reach a level, and the way out."""

    reason: str
    hint: str

    def error(self, source: Source, level: Trust) -> SourceError:
        return SourceError(
            f'source image {source.name} cannot be trusted as "{level}": {self.reason}',
            hint=self.hint,
        )


def establish_trust(source: Source, target: Target, mirror: MirrorState) -> Provenance:
    """Return the provenance of a source at the level of `source.trust`.

    `auto` is the strongest level that the configuration allows: a mirror that cannot be reached,
    or an image that does not match, never lowers it. Raises SourceError when the level cannot be
    reached, or when Glance's own record of the image contradicts the provenance.
    """
    if source.image is None:
        return _by_mirror(mirror)
    demanded = target.source.trust
    if demanded == "owner":
        return _by_owner(source.image, "source.trust requires no more")
    if demanded == "digest":
        return _required(_by_metadata(source.image), source, Trust.DIGEST)
    no_signatures = _no_signatures(target, mirror)
    if demanded == "signed":
        if no_signatures is not None:
            raise _Unreachable(
                reason=no_signatures, hint="use a signed mirror, or lower source.trust"
            ).error(source, Trust.SIGNED)
        return _required(_by_index(source, mirror), source, Trust.SIGNED)
    if no_signatures is None:
        signed = _by_index(source, mirror)
        if isinstance(signed, Provenance) or target.source.image is None:
            return _required(signed, source, Trust.SIGNED)
        no_signatures = f"{signed.reason}, and source.image names it"
    found = _by_metadata(source.image)
    if isinstance(found, Provenance):
        _required(found, source, Trust.DIGEST)
        return Provenance(
            level=found.level,
            by=found.by,
            hashes=found.hashes,
            size=found.size,
            note=f'{found.note}; not "signed": {no_signatures}',
        )
    return _by_owner(source.image, f'{found.reason}; not "signed": {no_signatures}')


def require_same(
    source: Source, provenance: Provenance, *, hashes: Mapping[str, str], size: int
) -> None:
    """Raise SourceError unless the bytes with these digests and size are those of `provenance`."""
    different = _difference(provenance, hashes, size)
    if different is not None:
        raise SourceError(
            f"the bytes of source image {source.name} are not those of {provenance.by}:"
            f" {different}",
            hint="the image was replaced, or its copy is damaged: find out who made it, delete it,"
            " and let the synchroniser fetch it again; where the synchroniser itself changes images"
            ' (--modify-hook), set source.trust = "owner"',
        )


def _difference(provenance: Provenance, hashes: Mapping[str, str], size: int | None) -> str | None:
    if provenance.size is not None and size is not None and size != provenance.size:
        return f"it has {size} bytes, expected {provenance.size}"
    for algorithm in DIGEST_FORMS:
        expected, found = provenance.hashes.get(algorithm), hashes.get(algorithm)
        if expected is not None and found is not None and expected != found:
            return f"{algorithm} is {found}, expected {expected}"
    return None


def _required(found: Provenance | _Unreachable, source: Source, level: Trust) -> Provenance:
    if isinstance(found, _Unreachable):
        raise found.error(source, level)
    # Glance computed its digests from the bytes: what differs already need not be downloaded.
    require_same(source, found, hashes=source.hashes, size=source.size or found.size or 0)
    return found


def _by_owner(image: Image, why: str) -> Provenance:
    return Provenance(
        level=Trust.OWNER,
        by=f"project {image.owner}",
        note=f'source trusted as "owner", project {image.owner}: {why}',
    )


def _by_mirror(mirror: MirrorState) -> Provenance:
    """Return an item's provenance: its digest is checked anyway, the question is who signed it."""
    listing = mirror.listing
    if listing is None:
        raise mirror.error or SourceError("no mirror was read", hint="set mirror.url")
    if listing.signed_by is None:
        return Provenance(
            level=Trust.DIGEST,
            by=f"the unsigned index of {listing.where}",
            note=f'source trusted as "digest": the index of {listing.where} is not signed'
            " (mirror.allow_unsigned)",
        )
    return Provenance(
        level=Trust.SIGNED,
        by=f"the signed index of {listing.where}",
        note=f'source trusted as "signed": {listing.where}, key {listing.signed_by}',
    )


def _no_signatures(target: Target, mirror: MirrorState) -> str | None:
    """Return why the configuration allows no signatures; None when it does."""
    if target.mirror.url is None:
        return "mirror.url is not set"
    if target.mirror.effective_keyring is None:
        return "mirror.keyring is not set"
    if mirror.listing is not None and mirror.listing.signed_by is None:
        return "the mirror is not signed (mirror.allow_unsigned)"
    return None


def _by_index(source: Source, mirror: MirrorState) -> Provenance | _Unreachable:
    """Return the provenance by the signed entry of the same product, version and item."""
    listing, image = mirror.listing, source.image
    if listing is None or image is None:
        error = mirror.error or SourceError("no mirror was read", hint="set mirror.url")
        raise SourceError(
            f'source image {source.name} cannot be trusted as "signed": {error.message}',
            hint=error.hint,
        ) from error
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
            hint="if the mirror dropped this version, let the synchroniser fetch a current one; if"
            " it never had it, the image is not from that mirror."
            ' source.trust = "digest" requires less',
        )
    found = Provenance(
        level=Trust.SIGNED,
        by=f"{entry.product} {entry.version} in the signed index of {listing.where}",
        note=f'source trusted as "signed": the index of {listing.where}, key {listing.signed_by}',
        hashes=_digests_of(entry),
        size=entry.size,
    )
    return _converted(image, entry.ftype, found) or found


def _digests_of(entry: StreamItem) -> dict[str, str]:
    return {"sha256": entry.sha256, **({"md5": entry.md5} if entry.md5 else {})}


def _by_metadata(image: Image) -> Provenance | _Unreachable:
    """Return the provenance by the digests that the synchroniser recorded with the image."""
    hint = 'let the synchroniser fetch the image again, or set source.trust = "owner"'
    try:
        metadata = json.loads(image.property("simplestreams_metadata") or "{}")
        hashes = {
            algorithm: str(metadata[algorithm]).lower()
            for algorithm, length in DIGEST_FORMS.items()
            if re.fullmatch(rf"[0-9a-fA-F]{{{length}}}", str(metadata.get(algorithm)))
        }
        size = int(metadata["size"]) if "size" in metadata else None
        ftype = str(metadata.get("ftype"))
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return _Unreachable(reason="its simplestreams_metadata cannot be read", hint=hint)
    if not hashes:
        return _Unreachable(reason="its simplestreams_metadata has no digests", hint=hint)
    found = Provenance(
        level=Trust.DIGEST,
        by="its simplestreams_metadata",
        note='source trusted as "digest": the digests that the synchroniser recorded with it',
        hashes=hashes,
        size=size,
    )
    return _converted(image, ftype, found) or found


def _converted(image: Image, ftype: str, found: Provenance) -> _Unreachable | None:
    """Return why an image that was converted on its way into Glance fits no digest; else None."""
    if image.disk_format != "raw" or ftype not in DISK_ITEMS:
        return None
    if _difference(found, image.hashes, image.size) is None:
        return None  # named raw, although its bytes are those of the stream
    return _Unreachable(
        reason=f"it is raw, and {ftype} of the stream is qcow2: the synchroniser converted it, so"
        " that its bytes can match no digest of the stream",
        hint='synchronise without conversion to raw, or set source.origin = "simplestreams"; with'
        ' source.trust = "owner" only the owner of the image is trusted',
    )
