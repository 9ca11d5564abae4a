"""Metrics, from an exposition of targets in several states."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from retrofit.status.metrics import exposition
from tests.unit.status import scenes
from tools.reference.markdown import table

INTRODUCTION = """\
# Metrics

The worker serves them at `/metrics`; `metrics.textfile` lets `run-once` write them for
node_exporter. [Status page, metrics and alerts](../how-to/monitoring.md) shows both. Times are Unix
timestamps, durations and ages are seconds. A value that is not known has no sample. The suffix
`_total` belongs to the name of a counter's sample.
"""
SCENES = (scenes.ok, scenes.running, scenes.failed, scenes.paused)


def body() -> str:
    """Return the page."""
    found: dict[str, tuple[str, str]] = {}
    labels: dict[str, list[str]] = {}
    for scene in SCENES:
        text = exposition(scenes.document(scene())).decode()
        for family in text_string_to_metric_families(text):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            found.setdefault(name, (family.type, family.documentation))
            for sample in family.samples:
                if sample.name == name:
                    labels[name] = list(sample.labels)
    rows = [
        (f"`{name}`", kind, ", ".join(f"`{label}`" for label in labels.get(name, ())), text)
        for name, (kind, text) in found.items()
    ]
    return f"{INTRODUCTION}\n{table(('Metric', 'Type', 'Labels', 'Description'), rows)}"
