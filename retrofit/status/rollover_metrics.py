"""Metrics of rollovers, as this machine saw them last; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client.core import Metric

from retrofit.runs.rollover import RolloverDocument
from retrofit.status.models import TargetDetails
from retrofit.status.samples import gauge, of, timestamp

KNOWN: dict[str, tuple[str, Callable[[RolloverDocument], float | None]]] = {
    "retrofit_rollover_timestamp_seconds": (
        "When the rollover of a target was seen last.",
        lambda each: timestamp(each.at),
    ),
    "retrofit_rollover_halted": (
        "1 while the rollover of a target is halted.",
        lambda each: float(each.state == "halted"),
    ),
    "retrofit_rollover_due_load_balancers": (
        "Load balancers that are still to be moved.",
        lambda each: each.due,
    ),
    "retrofit_rollover_moved_load_balancers": (
        "Load balancers on images of the rollover.",
        lambda each: each.moved,
    ),
    "retrofit_rollover_left_load_balancers": (
        "Load balancers that are due and stay, as they cannot or must not be moved.",
        lambda each: each.left_count,
    ),
    "retrofit_rollover_failing_over": (
        "Load balancers that fail over now.",
        lambda each: len(each.failing_over),
    ),
    "retrofit_rollover_waits_until_timestamp_seconds": (
        "When the wait of a rollover ends.",
        lambda each: timestamp(each.until),
    ),
}


def of_rollovers(targets: Sequence[TargetDetails]) -> Iterator[Metric]:
    """Yield how rollovers stand, where one was seen."""
    seen = [(of(each), each.rollover) for each in targets if each.rollover is not None]
    for name, (text, value) in KNOWN.items():
        yield gauge(name, text, [(labels, value(found)) for labels, found in seen])
