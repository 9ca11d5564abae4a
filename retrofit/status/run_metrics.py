"""Metrics of runs on this machine; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from retrofit.runs.history import BUILD_BUCKETS
from retrofit.runs.report_document import OUTCOMES
from retrofit.status.models import TargetDetails
from retrofit.status.samples import beside, gauge, of, timestamp, with_old

OLD_OUTCOMES = {"locked": "busy", "backoff": "waiting"}
OLD_STEPS = {"clean-up": "sweep"}


def of_runs(targets: Sequence[TargetDetails]) -> Iterator[Metric]:
    """Yield how runs ended and how long they took."""
    yield gauge(
        "retrofit_last_success_timestamp_seconds",
        "When a run of the target last succeeded.",
        [(of(each), timestamp(each.last_success_at)) for each in targets],
    )
    yield gauge(
        "retrofit_last_run_timestamp_seconds",
        "When the last run of the target began.",
        [(of(each), each.last_run.started_at.timestamp()) for each in targets if each.last_run],
    )
    yield gauge(
        "retrofit_last_run_outcome",
        f"1 for the outcome of the target's last run, 0 for the others. {beside(OLD_OUTCOMES)}",
        [
            (of(each, outcome=label), each.last_run.outcome == outcome)
            for each in targets
            if each.last_run
            for outcome in OUTCOMES
            for label in with_old(outcome, OLD_OUTCOMES)
        ],
    )
    yield gauge(
        "retrofit_step_duration_seconds",
        f"How long each step took when a run last came to it. {beside(OLD_STEPS)}",
        [
            (of(each, step=label), seconds)
            for each in targets
            for step, seconds in each.step_seconds.items()
            for label in with_old(step, OLD_STEPS)
        ],
    )
    yield gauge(
        "retrofit_failing_since_timestamp_seconds",
        "Since when runs of the target have failed; no sample where the last one succeeded.",
        [(of(each), timestamp(each.failing_since)) for each in targets],
    )
    yield gauge(
        "retrofit_consecutive_failures",
        "Runs of the target that failed in a row on this machine.",
        [(of(each), each.failures_in_row) for each in targets],
    )
    yield _durations(targets)
    yield _counts(targets)


def _durations(targets: Sequence[TargetDetails]) -> Metric:
    name = "retrofit_build_duration_seconds"
    family = HistogramMetricFamily(name, "How long disk-image-create took, of all builds here.")
    for each in targets:
        total = 0
        for bound in BUILD_BUCKETS:
            total += each.build_durations.get(bound, 0)
            family.add_sample(f"{name}_bucket", of(each, le=bound), total)
        family.add_sample(f"{name}_count", of(each), total)
        family.add_sample(f"{name}_sum", of(each), each.build_seconds)
    return family


def _counts(targets: Sequence[TargetDetails]) -> Metric:
    name = "retrofit_runs"
    family = CounterMetricFamily(name, f"Runs that ended on this machine. {beside(OLD_OUTCOMES)}")
    for each in targets:
        for outcome in OUTCOMES:
            for label in with_old(outcome, OLD_OUTCOMES):
                number = each.run_counts.get(outcome, 0)
                family.add_sample(f"{name}_total", of(each, outcome=label), number)
    return family
