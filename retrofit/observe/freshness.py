"""Ask the archive what is newer than in the promoted image, by the evidence of its build."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import structlog

from retrofit.archive.ask import ask
from retrofit.archive.evidence import Evidence, EvidenceError, digest_of, unpack
from retrofit.archive.forget import forget_evidence, forget_roots
from retrofit.archive.offer import UpdateKind
from retrofit.cloud import Glance
from retrofit.config import Settings, Target
from retrofit.errors import RetrofitError
from retrofit.model import DEBIAN_ARCHITECTURES, Image
from retrofit.plan.companions import EVIDENCE, EVIDENCE_ID, is_companion_of
from retrofit.plan.freshness import Freshness
from retrofit.runs import store
from retrofit.system.directories import make_directory

ROOTS, COPIES = "archive", "evidence"
"""Directories in `paths.cache`: a private root for each target, copies of evidence."""
TRIES = ".tries"
"""Directory in that of private roots, for those of tries: no target begins with a dot."""
LARGEST = 32 << 20
"""Bytes of packed evidence: that of a server image has a quarter of a megabyte."""

log = structlog.get_logger(__name__)


def observe_freshness(
    promoted: Image, target: Target, settings: Settings, glance: Glance, now: datetime
) -> Freshness:
    """Return what the archive has for the promoted image, and remember it.

    `now` is the time of the inventory. Where the archive or the agent's index does not answer, what
    it had the last time stays known beside the reason.
    """
    path = _path(settings.paths.state, target)
    before = _read(path, promoted)
    found = freshness_of(promoted, target, settings, glance, now)
    if before is not None and found.offer is None and before.offer is not None:
        when = f"{before.offer.checked_at:%Y-%m-%d %H:%M} UTC"
        found = replace(before, unknown=f"{found.unknown}; known is what it had at {when}")
    elif before is not None and found.offer is not None:
        found = _with_agent_of(before, found)
        seen = {
            update: min(before.first_seen.get(update, moment), moment)
            for update, moment in found.first_seen.items()
        }
        found = replace(found, first_seen=seen)
    # The record may be lost without harm: what is offered counts as new again.
    with suppress(OSError):
        store.write(path, found.as_dict())
    return found


def _with_agent_of(before: Freshness, found: Freshness) -> Freshness:
    """Return what was found, with the agent's releases of before where nobody knows them now."""
    if found.offer is None or found.offer.agent_unknown is None:
        return found
    kept = before.of(UpdateKind.AGENT)
    offer = replace(found.offer, updates=(*found.offer.updates, *kept))
    # Since when they are known is in the record of before.
    since = {each.key: offer.checked_at for each in kept} | dict(found.first_seen)
    return replace(found, offer=offer, first_seen=since)


def freshness_of(
    image: Image, target: Target, settings: Settings, glance: Glance, now: datetime
) -> Freshness:
    """Return what the archive has for an image, or the reason why that is not known.

    The indexes of the archive are kept in `paths.cache`.
    """
    try:
        evidence = find_evidence(image, settings.paths.cache, glance)
        offer = ask(
            evidence,
            settings.paths.cache / ROOTS / target.name,
            architecture=DEBIAN_ARCHITECTURES[target.source.architecture],
            build=target.build,
            now=now,
            advisories=target.freshness.advisories,
        )
    except (EvidenceError, RetrofitError, OSError) as error:
        reason = error.message if isinstance(error, RetrofitError) else str(error)
        unanswered = not isinstance(error, EvidenceError)
        return Freshness(image_id=image.id, unknown=reason, unanswered=unanswered)
    return Freshness(
        image_id=image.id,
        offer=offer,
        offered=evidence.offered,
        first_seen={update.key: now for update in offer.updates},
    )


def recorded_freshness(promoted: Image, target: Target, settings: Settings) -> Freshness | None:
    """Return what this machine saw last of an image; None where it never looked."""
    return _read(_path(settings.paths.state, target), promoted)


def forget_unneeded(settings: Settings) -> None:
    """Remove from `paths.cache` what no configured target needs for its checks any more.

    What cannot be removed stays: it costs space alone.
    """
    cache = settings.paths.cache
    checked = {target.name for target in settings.targets if target.freshness.check}
    with suppress(OSError):
        for name in forget_roots(cache / ROOTS, checked):
            log.info("indexes of a former target removed", former_target=name)
    with suppress(OSError):
        forget_roots(cache / ROOTS / TRIES, {target.name for target in settings.targets})
    with suppress(OSError):
        forget_evidence(cache / COPIES)


def _read(path: Path, promoted: Image) -> Freshness | None:
    found = Freshness.from_dict(store.read(path) or {})
    return found if found is not None and found.image_id == promoted.id else None


def _path(state: Path, target: Target) -> Path:
    return store.directory_of(state, target.name) / "freshness.json"


def find_evidence(image: Image, cache: Path, glance: Glance) -> Evidence:
    """Return the evidence of an image, from the cache or from its companion in Glance.

    Raises EvidenceError where there is none or where it is not what the image records, and
    CloudError.
    """
    digest = image.property(EVIDENCE)
    if digest is None:
        raise EvidenceError("the image has no evidence of its packages")
    if not digest.isalnum():
        raise EvidenceError(f"the image records {digest[:100]!r} as the digest of its evidence")
    kept = cache / COPIES / f"{digest}.tar.xz"
    with suppress(OSError, EvidenceError):
        data = kept.read_bytes()
        if digest_of(data) == digest:
            with suppress(OSError):
                kept.touch()  # it is in use
            return unpack(data)
    record = glance.get(image.property(EVIDENCE_ID) or "")
    if record is None or not is_companion_of(record, image):
        raise EvidenceError("the evidence of its packages is not in Glance")
    if (record.size or 0) > LARGEST:
        raise EvidenceError(f"the evidence of its packages has {record.size} bytes")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "evidence"
        glance.download(record, path)
        data = path.read_bytes()
    if digest_of(data) != digest:
        raise EvidenceError("the evidence of its packages is not what the image records")
    evidence = unpack(data)
    with suppress(OSError):
        make_directory(kept.parent)
        kept.write_bytes(data)
    return evidence
