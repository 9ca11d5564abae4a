"""The properties of an amphora image in Glance; pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from retrofit import __version__
from retrofit.config import Target
from retrofit.model import BuiltImage, Source, Verdict
from retrofit.plan import Identity
from retrofit.plan.companions import EVIDENCE
from retrofit.plan.identity import STATE_ID
from retrofit.source.trust import Trust

AT_CREATION: Mapping[str, str] = {
    "architecture": "Architecture, as Glance names it.",
    "os_type": "`linux`.",
    "os_distro": "Distribution of the source.",
    "os_version": "Release of the source, such as `24.04`.",
    "source_product_name": "simplestreams product of the source.",
    "source_version_name": "simplestreams version of the source.",
    "retrofit_image_id": "Id of the image itself: a copy has another one.",
    "retrofit_installation": "Installation that it belongs to, derived from project and tag.",
    "retrofit_target": "Target that the image belongs to.",
    "retrofit_tag": "Tag of the target, by which Octavia finds its promoted image.",
    "retrofit_state_id": "State directory (`paths.state`) whose run made it.",
    "retrofit_run_id": "Run that made it.",
    "retrofit_host": "Name of the machine that made it, for people.",
    "retrofit_version": "Version of retrofit that made it.",
    "retrofit_recipe": "Digest of the recipe.",
    "retrofit_source_id": "Id of the source image, or its address in the mirror.",
    "retrofit_source_hash": "Digest of the source, with its algorithm, as Glance has it.",
    "retrofit_source_sha256": "SHA-256 of the source, as mirrors have it.",
    "retrofit_source_trust": "What vouched for the source: `owner`, `digest` or `signed`.",
    "retrofit_image_hash": "Digest of the file that was built and verified.",
    "retrofit_image_ends": "SHA-256 of its first 64 KiB, followed by its last 64 KiB.",
    "retrofit_verified_at": "Time of the verification.",
    "retrofit_verification": "How it was verified: `offline`, or such as `full-kvm`, `boot-tcg`.",
    "retrofit_octavia_release": "Release of Octavia that it was verified for, or the first and last"
    " possible one.",
    "retrofit_evidence": "SHA-256 of the evidence of its packages, which a hidden record holds.",
    "haproxy_version": "Version of HAProxy in the image.",
    "amphora_agent_version": "Version of Octavia's agent in the image.",
    "kernel_version": "Kernel in the image.",
}
"""Every property that a record has from its creation on, the last five where they are known."""
LATER: Mapping[str, str] = {
    "retrofit_promoted_at": "Time of the promotion.",
    "retrofit_promoted_by": "Who promoted it, on which host, in which run and why, as JSON.",
    "retrofit_demoted_at": "Time of the demotion.",
    "retrofit_demoted_by": "Who demoted it, as JSON.",
    "retrofit_rejected_at": "Time of the rejection by a rollback or a promotion by hand.",
    "retrofit_rejected_by": "Who rejected it, as JSON.",
    "retrofit_set_aside_at": "The same, by the name that 0.1 reads; written through 0.2.",
    "retrofit_read_at": "Time when all its bytes were last read from Glance and found right.",
    "retrofit_damaged_at": "Time when its bytes were first found to be gone, or to be others.",
    "retrofit_evidence_id": "Id of the record that holds the evidence of its packages.",
    "retrofit_paused": "The pause of the target, as JSON; on the promoted image.",
    "retrofit_rollover": "The rollover that has begun: since when, which failovers failed, which"
    " trouble was seen, and whether it has ended, as JSON; on the promoted image.",
    "retrofit_rollover_halted": "Why rollover to this image halted, as JSON; `retrofit rollover"
    " --resume` removes it.",
}
"""Every property that a record may get later."""


def image_attributes(
    target: Target,
    source: Source,
    built: BuiltImage,
    verdict: Verdict,
    *,
    source_hashes: Mapping[str, str],
    source_trust: Trust,
    recipe: str,
    run_id: str,
    host: str,
    project_id: str,
    image_id: str,
    state_id: str,
    image_ends: str,
    evidence: str | None,
) -> dict[str, Any]:
    """Return everything to create the Glance record with, so that no record is ever anonymous.

    The id is ours to choose, and is in the properties as well: so a record names itself, and a copy
    of it does not. The tag is not among it: an image is promoted when it is active and whole.
    `source_product_name` and `source_version_name` are what the octavia-diskimage-retrofit charm
    looks for. `content_id` is left out on purpose: the synchroniser would rotate the image away as
    one of its own.
    """
    properties = {
        "architecture": source.architecture,
        "os_type": "linux",
        "os_distro": source.os_distro,
        "os_version": source.os_version,
        "source_product_name": source.product,
        "source_version_name": source.version,
        **Identity.of(target, project_id).properties_of(image_id),
        STATE_ID: state_id,
        "retrofit_run_id": run_id,
        "retrofit_host": host,
        "retrofit_version": __version__,
        "retrofit_recipe": recipe,
        "retrofit_source_id": source.id,
        **recorded_hashes(source, source_hashes),
        "retrofit_source_trust": str(source_trust),
        "retrofit_image_hash": f"sha512:{built.sha512}",
        "retrofit_image_ends": image_ends,
        "retrofit_verified_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "retrofit_verification": verdict.how,
        **({} if evidence is None else {EVIDENCE: evidence}),
        **verdict.facts,
    }
    return {
        "id": image_id,
        "name": image_name(source, run_id),
        "disk_format": built.disk_format,
        "container_format": "bare",
        "visibility": target.publish.visibility,
        "min_disk": built.min_disk,
        **target.publish.properties,
        **properties,
    }


def recorded_hashes(source: Source, hashes: Mapping[str, str]) -> dict[str, str]:
    """Return the digests of an image's source, `hashes` being those of the download.

    Glance knows the first, mirrors know the second: whichever the next source comes from, the two
    can be compared without a download.
    """
    in_glance = source.image is not None
    return {
        "retrofit_source_hash": source.content_hash if in_glance else f"sha512:{hashes['sha512']}",
        "retrofit_source_sha256": hashes["sha256"],
    }


def image_name(source: Source, run_id: str) -> str:
    """Name an amphora image as the field does (the charm's form), and by the time of its run.

    Images of one source had one name, and `openstack image show NAME` refuses that.
    """
    return (
        f"amphora-haproxy-{source.architecture}-{source.os_distro}-{source.os_version}"
        f"-{source.version}-{run_id.partition('-')[0]}"
    )
