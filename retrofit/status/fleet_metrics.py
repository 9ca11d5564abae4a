"""Metrics of amphorae and of what they run on; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client.core import Metric

from retrofit.status.models import TargetDetails
from retrofit.status.samples import gauge, of, seconds, timestamp


def of_amphorae(targets: Sequence[TargetDetails]) -> Iterator[Metric]:
    """Yield what amphorae run on, where Octavia answers."""
    audits = [(of(each), each.amphorae) for each in targets if each.amphorae]
    answered = [(labels, audit) for labels, audit in audits if audit.octavia.answers]
    yield gauge(
        "retrofit_octavia_answers",
        "1 while Octavia answers which images its amphorae run on.",
        [
            (of(each), each.amphorae.octavia.answers)
            for each in targets
            # Where it is not to be asked, its silence is no fault.
            if each.amphorae and each.octavia_query != "never"
        ],
    )
    images = [
        ({**labels, "image_id": image.id}, image)
        for labels, audit in answered
        for image in audit.images
    ]
    yield gauge(
        "retrofit_amphorae",
        "Amphorae that run on an image.",
        [(labels, image.amphorae) for labels, image in images],
    )
    yield gauge(
        "retrofit_amphora_image_created_timestamp_seconds",
        "When an image that amphorae may run on was created.",
        [(labels, timestamp(image.created_at)) for labels, image in images],
    )
    yield gauge(
        "retrofit_amphora_image_age_seconds",
        "Age of an image that amphorae may run on.",
        [(labels, seconds(image.age_days)) for labels, image in images],
    )
    yield gauge(
        "retrofit_outdated_amphorae",
        "Amphorae that run on another image than the promoted one.",
        [(labels, audit.outdated_amphorae) for labels, audit in answered],
    )
    yield gauge(
        "retrofit_outdated_load_balancers",
        "Load balancers that run, in part at least, on another image than the promoted one.",
        [(labels, len(audit.failover or ())) for labels, audit in answered],
    )
