"""Samples of metrics: the labels of a target, gauges, label values of 0.1 beside today's; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily

from retrofit.status.models import TargetDetails

SECONDS_A_DAY = 86400
Samples = Iterable[tuple[Mapping[str, str], float | None]]


def of(target: TargetDetails, **further: str) -> dict[str, str]:
    """Return the labels of a target: its name, and the cloud and region of the configuration.

    Two regions may have targets of one name. What is not configured is no label, as before 0.2.
    """
    known = {"target": target.target, "cloud": target.cloud_name, "region": target.region}
    return {**{key: value for key, value in known.items() if value}, **further}


def gauge(name: str, text: str, samples: Samples) -> GaugeMetricFamily:
    """Make a gauge; an unknown value is no sample."""
    family = GaugeMetricFamily(name, text)
    for labels, value in samples:
        if value is not None:
            family.add_sample(name, dict(labels), float(value))
    return family


def with_old(value: str, old: Mapping[str, str]) -> tuple[str, ...]:
    """Return the values of a label: that of today, and through 0.2 that of 0.1."""
    return (value, old[value]) if value in old else (value,)


def beside(old: Mapping[str, str]) -> str:
    """Return the sentence about label values of 0.1 for a metric's description."""
    listed = ", ".join(f"{former} for {value}" for value, former in old.items())
    return f"Through 0.2 the values of 0.1 are exported too: {listed}."


def timestamp(when: datetime | None) -> float | None:
    """Return Unix seconds; None for None."""
    return None if when is None else when.timestamp()


def seconds(days: float | None) -> float | None:
    """Return seconds of days; None for None."""
    return None if days is None else days * SECONDS_A_DAY
