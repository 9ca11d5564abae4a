"""From the overview to numbers for Prometheus; pure but for the textfile.

Times are given as Unix timestamps, as Prometheus wants them, so that they stay true however old
the sample is; the ages beside them are of the moment when the document was made.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from retrofit.errors import ConfigError
from retrofit.overview.words import STATES

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OUTCOMES = ("published", "unchanged", "failed", "busy", "paused", "waiting")
SECONDS_A_DAY = 86400


def exposition(document: Mapping[str, Any]) -> bytes:
    """Return the metrics of an overview in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Document(document))
    return generate_latest(registry)


def write_textfile(document: Mapping[str, Any], path: Path) -> None:
    """Write the metrics so that a reader finds all or nothing of them. Raises ConfigError."""
    try:
        # A new file, of a name that nobody knows before: the directory may be another user's, and a
        # link that waits there would lead our writing to any file of this machine. node_exporter
        # reads *.prom alone, and never sees this one.
        number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        partial = Path(name)
        try:
            with os.fdopen(number, "wb") as file:
                file.write(exposition(document))
                os.fchmod(file.fileno(), 0o644)  # node_exporter is another user
            partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigError(
            f"cannot write {path}: {error.strerror}",
            hint="make its directory, or set metrics.textfile",
        ) from error


class _Document(Collector):
    """Turns a document into metrics whenever it is asked."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def collect(self) -> Iterator[Metric]:
        document = self._document
        yield _gauge(
            "retrofit_build_info",
            "Version of retrofit.",
            [({"version": document["retrofit_version"]}, 1)],
        )
        yield _gauge(
            "retrofit_healthy",
            "1 while every target that is not paused had a successful run in time.",
            [({}, document["health"]["healthy"])],
        )
        yield _gauge(
            "retrofit_overview_timestamp_seconds",
            "When these metrics were put together.",
            [({}, _timestamp(document["generated_at"]))],
        )
        yield _gauge(
            "retrofit_undelivered_notifications",
            "Changes of state that nobody has been told of yet.",
            [({}, document["undelivered"])],
        )
        yield from _of_targets(document["targets"])
        yield from _of_runs(document["targets"])
        yield from _of_amphorae(document["targets"])


def _of_targets(targets: Iterable[Mapping[str, Any]]) -> Iterator[Metric]:
    simple: dict[str, tuple[str, Callable[[Mapping[str, Any]], float | None]]] = {
        "retrofit_promoted_image_created_timestamp_seconds": (
            "When the promoted image was created.",
            lambda each: _timestamp(_of(each["promoted"], "created_at")),
        ),
        "retrofit_promoted_image_age_seconds": (
            "Age of the promoted image.",
            lambda each: _seconds(_of(each["promoted"], "age_days")),
        ),
        "retrofit_source_published_timestamp_seconds": (
            "Day of the promoted image's source, as its version says.",
            lambda each: _timestamp(_of(each["promoted"], "source_published_at")),
        ),
        "retrofit_source_age_seconds": (
            "Age of the promoted image's source.",
            lambda each: _seconds(_of(each["promoted"], "source_age_days")),
        ),
        "retrofit_image_promoted": (
            "1 while an image of the target is promoted.",
            lambda each: None if each["asked_at"] is None else each["promoted"] is not None,
        ),
        "retrofit_paused": (
            "1 while the target is paused.",
            lambda each: None if each["asked_at"] is None else each["paused"] is not None,
        ),
        "retrofit_lock_held": (
            "1 while a run of the target goes on on this machine.",
            lambda each: each["running"] is not None,
        ),
        "retrofit_next_run_timestamp_seconds": (
            "When the worker runs the target next.",
            lambda each: _timestamp(each["next_run"]["at"]),
        ),
        "retrofit_cloud_up": (
            "1 while the cloud answers.",
            lambda each: each["asked_at"] is not None and each["cloud_error"] is None,
        ),
        "retrofit_cloud_asked_timestamp_seconds": (
            "When the cloud last answered.",
            lambda each: _timestamp(each["asked_at"]),
        ),
    }
    for name, (text, value) in simple.items():
        yield _gauge(name, text, [({"target": each["target"]}, value(each)) for each in targets])
    yield _gauge(
        "retrofit_target_state",
        "1 for the state that the status page shows, 0 for the others.",
        [
            ({"target": each["target"], "state": state}, each["state"] == state)
            for each in targets
            for state in STATES
        ],
    )
    yield _gauge(
        "retrofit_images",
        "Amphora images of the target in Glance.",
        [
            ({"target": each["target"], "state": state}, count)
            for each in targets
            for state, count in (each["image_states"] or {}).items()
        ],
    )
    yield _gauge(
        "retrofit_promoted_image_info",
        "What is promoted.",
        [
            (
                {
                    "target": each["target"],
                    "image_id": image["id"],
                    "name": image["name"],
                    "source_product": image["source_product_name"] or "",
                    "source_version": image["source_version_name"] or "",
                    "haproxy_version": image["haproxy_version"] or "",
                    "amphora_agent_version": image["amphora_agent_version"] or "",
                    "kernel_version": image["kernel_version"] or "",
                    "verification": image["retrofit_verification"] or "",
                },
                1,
            )
            for each in targets
            if (image := each["promoted"])
        ],
    )


def _of_runs(targets: Iterable[Mapping[str, Any]]) -> Iterator[Metric]:
    yield _gauge(
        "retrofit_last_success_timestamp_seconds",
        "When a run of the target last succeeded.",
        [({"target": each["target"]}, _timestamp(each["last_success_at"])) for each in targets],
    )
    yield _gauge(
        "retrofit_last_run_timestamp_seconds",
        "When the last run of the target began.",
        [
            ({"target": each["target"]}, _timestamp(_of(each["last_run"], "started_at")))
            for each in targets
        ],
    )
    yield _gauge(
        "retrofit_last_run_outcome",
        "1 for the outcome of the target's last run, 0 for the others.",
        [
            ({"target": each["target"], "outcome": outcome}, each["last_run"]["outcome"] == outcome)
            for each in targets
            if each["last_run"]
            for outcome in OUTCOMES
        ],
    )
    yield _gauge(
        "retrofit_step_duration_seconds",
        "How long each step took when a run last came to it.",
        [
            ({"target": each["target"], "step": step}, seconds)
            for each in targets
            for step, seconds in each["step_seconds"].items()
        ],
    )
    runs = CounterMetricFamily(
        "retrofit_runs", "Runs that ended on this machine.", labels=["target", "outcome"]
    )
    for each in targets:
        for outcome in OUTCOMES:
            runs.add_metric([each["target"], outcome], each["run_counts"].get(outcome, 0))
    yield runs


def _of_amphorae(targets: Iterable[Mapping[str, Any]]) -> Iterator[Metric]:
    audits = [(each["target"], each["amphorae"]) for each in targets if each["amphorae"]]
    answered = [(target, audit) for target, audit in audits if audit["octavia"]["answers"]]
    yield _gauge(
        "retrofit_octavia_answers",
        "1 while Octavia tells which images its amphorae run on.",
        [({"target": target}, audit["octavia"]["answers"]) for target, audit in audits],
    )
    images = [
        ({"target": target, "image_id": image["id"]}, image)
        for target, audit in answered
        for image in audit["images"]
    ]
    yield _gauge(
        "retrofit_amphorae",
        "Amphorae that run on an image.",
        [(labels, image["amphorae"]) for labels, image in images],
    )
    yield _gauge(
        "retrofit_amphora_image_created_timestamp_seconds",
        "When an image that amphorae may run on was created.",
        [(labels, _timestamp(image["created_at"])) for labels, image in images],
    )
    yield _gauge(
        "retrofit_amphora_image_age_seconds",
        "Age of an image that amphorae may run on.",
        [(labels, _seconds(image["age_days"])) for labels, image in images],
    )
    yield _gauge(
        "retrofit_outdated_amphorae",
        "Amphorae that run on another image than the promoted one.",
        [({"target": target}, outdated(audit)) for target, audit in answered],
    )
    yield _gauge(
        "retrofit_outdated_load_balancers",
        "Load balancers that run, in part at least, on another image than the promoted one.",
        [({"target": target}, len(audit["failover"])) for target, audit in answered],
    )


def outdated(audit: Mapping[str, Any]) -> int:
    """Count the amphorae on other images than the promoted one."""
    return sum(image["amphorae"] for image in audit["images"] if not image["promoted"])


def _gauge(
    name: str, text: str, samples: Iterable[tuple[Mapping[str, str], float | None]]
) -> GaugeMetricFamily:
    """Make a gauge; what is not known is no sample."""
    known = [(labels, value) for labels, value in samples if value is not None]
    family = GaugeMetricFamily(name, text, labels=list(known[0][0]) if known else [])
    for labels, value in known:
        family.add_metric(list(labels.values()), float(value))
    return family


def _of(record: Mapping[str, Any] | None, key: str) -> Any:
    return None if record is None else record.get(key)


def _timestamp(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()


def _seconds(days: float | None) -> float | None:
    return None if days is None else days * SECONDS_A_DAY
