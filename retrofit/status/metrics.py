"""From the status document to numbers for Prometheus; pure.

Times are Unix timestamps, as Prometheus wants them, so that they stay true however old the sample
is; the ages beside them are of the moment when the document was made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from retrofit.plan import ImageState
from retrofit.plan.image_state import REJECTED_STATES
from retrofit.status.fleet_metrics import of_amphorae
from retrofit.status.models import STATES, StatusDocument, TargetDetails
from retrofit.status.rollover_metrics import of_rollovers
from retrofit.status.run_metrics import of_runs
from retrofit.status.samples import (
    beside,
    gauge,
    of,
    seconds,
    timestamp,
    with_old,
)
from retrofit.times import read_time

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OLD_STATES = {
    "ok": "good",
    "no_image": "missing",
    "cloud_unreachable": "unreachable",
    "backoff": "waiting",
}
OLD_IMAGE_STATES: Mapping[str, frozenset[ImageState]] = {
    "kept": frozenset({ImageState.DEMOTED, ImageState.READY, ImageState.HIDDEN}),
    "set_aside": REJECTED_STATES,
}
"""Label values of 0.1, which are exported beside those of today through 0.2: rules elsewhere use
them. A sum over all values of such a label counts these twice."""


def exposition(document: StatusDocument) -> bytes:
    """Return the metrics of a status document in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Document(document))
    return generate_latest(registry)


class _Document(Collector):
    """Turns a document into metrics."""

    def __init__(self, document: StatusDocument) -> None:
        self._document = document

    def collect(self) -> Iterator[Metric]:
        document = self._document
        yield gauge(
            "retrofit_build_info",
            "Version of retrofit.",
            [({"version": document.retrofit_version}, 1)],
        )
        yield gauge(
            "retrofit_healthy",
            "1 while Octavia finds an image for every target, and each that is not paused had a"
            " successful run in time.",
            [({}, document.health.healthy)],
        )
        hours = document.health.healthy_within_hours
        yield gauge(
            "retrofit_healthy_within_seconds",
            "How long a target may be without a successful run: web.healthy_within.",
            [({}, None if hours is None else hours * 3600)],
        )
        yield gauge(
            "retrofit_overview_timestamp_seconds",
            "When these metrics were made.",
            [({}, document.generated_at.timestamp())],
        )
        yield gauge(
            "retrofit_undelivered_notifications",
            "Notifications that are queued, and not yet delivered.",
            [({}, document.undelivered)],
        )
        yield from _of_targets(document.targets)
        yield from _of_packages(document.targets)
        yield from of_runs(document.targets)
        yield from of_amphorae(document.targets)
        yield from of_rollovers(document.targets)


def _of_targets(targets: Sequence[TargetDetails]) -> Iterator[Metric]:
    simple: dict[str, tuple[str, Callable[[TargetDetails], float | None]]] = {
        "retrofit_promoted_image_created_timestamp_seconds": (
            "When the promoted image was created.",
            lambda each: timestamp(each.promoted.created_at if each.promoted else None),
        ),
        "retrofit_promoted_image_age_seconds": (
            "Age of the promoted image.",
            lambda each: seconds(each.promoted.age_days if each.promoted else None),
        ),
        "retrofit_source_published_timestamp_seconds": (
            "Day of the promoted image's source, by its version.",
            lambda each: timestamp(each.promoted.source_published_at if each.promoted else None),
        ),
        "retrofit_source_age_seconds": (
            "Age of the promoted image's source.",
            lambda each: seconds(each.promoted.source_age_days if each.promoted else None),
        ),
        "retrofit_promoted_timestamp_seconds": (
            "When the promoted image was promoted.",
            lambda each: timestamp(
                read_time(each.promoted.retrofit_promoted_at) if each.promoted else None
            ),
        ),
        "retrofit_stale_after_seconds": (
            "Age from which the promoted image counts as stale: publish.stale_after.",
            lambda each: seconds(each.stale_after_days),
        ),
        "retrofit_image_promoted": (
            "1 while an image of the target is promoted.",
            lambda each: None if each.asked_at is None else each.promoted is not None,
        ),
        "retrofit_paused": (
            "1 while the target is paused.",
            lambda each: None if each.asked_at is None else each.paused is not None,
        ),
        "retrofit_paused_since_timestamp_seconds": (
            "When the target was paused; no sample where it is not.",
            lambda each: timestamp(each.paused.since if each.paused else None),
        ),
        "retrofit_lock_held": (
            "1 while a run of the target is in progress on this machine.",
            lambda each: each.running is not None,
        ),
        "retrofit_run_started_timestamp_seconds": (
            "When the run in progress on this machine began.",
            lambda each: timestamp(each.running.since if each.running else None),
        ),
        "retrofit_next_run_timestamp_seconds": (
            "When the worker runs the target next.",
            lambda each: timestamp(each.next_run.at),
        ),
        "retrofit_cloud_up": (
            "1 while the cloud answers.",
            lambda each: each.asked_at is not None and each.cloud_error is None,
        ),
        "retrofit_cloud_asked_timestamp_seconds": (
            "When the cloud last answered.",
            lambda each: timestamp(each.asked_at),
        ),
    }
    for name, (text, value) in simple.items():
        yield gauge(name, text, [(of(each), value(each)) for each in targets])
    yield gauge(
        "retrofit_target_state",
        f"1 for the state that the status page shows, 0 for the others. {beside(OLD_STATES)}",
        [
            (of(each, state=label), each.state == state)
            for each in targets
            for state in STATES
            for label in with_old(state, OLD_STATES)
        ],
    )
    yield gauge(
        "retrofit_images",
        "Amphora images of the target in Glance. Through 0.2 the values of 0.1 are exported too:"
        " kept for demoted, ready and hidden, set_aside for rejected, untagged and"
        " demotion_pending.",
        [
            (of(each, state=label), count)
            for each in targets
            for label, count in _image_counts(each.image_states or {}).items()
        ],
    )
    yield gauge(
        "retrofit_promoted_image_info",
        "The promoted image.",
        [
            (
                {
                    **of(each),
                    "image_id": image.id,
                    "name": image.name,
                    "source_product": image.source_product_name or "",
                    "source_version": image.source_version_name or "",
                    "haproxy_version": image.haproxy_version or "",
                    "amphora_agent_version": image.amphora_agent_version or "",
                    "kernel_version": image.kernel_version or "",
                    "verification": image.retrofit_verification or "",
                },
                1,
            )
            for each in targets
            if (image := each.promoted)
        ],
    )


def _of_packages(targets: Sequence[TargetDetails]) -> Iterator[Metric]:
    known = [(of(each), each.freshness) for each in targets if each.freshness is not None]
    yield gauge(
        "retrofit_updates_pending",
        "Packages of the promoted image that are newer in the archive: security fixes, others,"
        " those that only a newer source image brings, and Python distributions of the agent.",
        [
            ({**labels, "kind": kind}, len(updates))
            for labels, freshness in known
            if freshness.checked_at is not None
            for kind, updates in (
                ("security", freshness.security),
                ("other", freshness.other),
                ("held", freshness.held),
                ("agent", freshness.agent),
            )
        ],
    )
    yield gauge(
        "retrofit_security_update_first_seen_timestamp_seconds",
        "When the oldest security fix that the promoted image lacks was seen first.",
        [
            (labels, min(seen).timestamp())
            for labels, freshness in known
            if (seen := [fix.since for fix in freshness.fixes if fix.since is not None])
        ],
    )
    yield gauge(
        "retrofit_archive_checked_timestamp_seconds",
        "When the package archive last answered.",
        [
            (labels, freshness.checked_at.timestamp())
            for labels, freshness in known
            if freshness.checked_at is not None
        ],
    )


def _image_counts(states: Mapping[ImageState, int]) -> dict[str, int]:
    old = {
        label: sum(states.get(state, 0) for state in those)
        for label, those in OLD_IMAGE_STATES.items()
        if states
    }
    return {**{state.value: count for state, count in states.items()}, **old}
