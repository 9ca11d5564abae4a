"""The expressions of alert rules and dashboard, and the metrics that retrofit has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

from retrofit.status.metrics import exposition
from tests.devcloud.places import CHECKOUT
from tests.unit.status import scenes

DASHBOARD: dict[str, Any] = json.loads(
    (CHECKOUT / "monitoring" / "grafana-dashboard.json").read_text()
)
RULES: list[dict[str, Any]] = yaml.safe_load(
    (CHECKOUT / "monitoring" / "retrofit.rules.yml").read_text()
)["groups"][0]["rules"]
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]


def dashboard_expressions() -> Iterator[str]:
    """Yield what panels and annotations ask for."""
    for panel in PANELS:
        yield from (each["expr"] for each in panel["targets"])
    yield from (each["expr"] for each in DASHBOARD["annotations"]["list"])


def exported() -> set[str]:
    """Return the names of all samples that targets in some state have."""
    return {
        sample.name
        for scene in scenes.STATES.values()
        for family in text_string_to_metric_families(exposition(scenes.document(scene())).decode())
        for sample in family.samples
    }


def metrics_in(expression: str) -> set[str]:
    """Return the metrics that an expression names."""
    return set(re.findall(r"\bretrofit_[a-z_]+", expression))
