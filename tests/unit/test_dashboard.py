"""The Grafana dashboard asks for what retrofit has, and shows what is good and what is bad."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from retrofit.status.models import STATES
from tests.unit.monitoring_files import (
    DASHBOARD,
    PANELS,
    dashboard_expressions,
    exported,
    metrics_in,
)

COLOURED = {"stat", "bargauge", "gauge"}
SELECTORS = ('target=~"$target"', 'instance=~"$instance"', 'cloud=~"$cloud"')


def defaults(panel: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = panel["fieldConfig"]["defaults"]
    return found


def test_every_panel_asks_for_metrics_that_exist() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    asked = {name for expr in dashboard_expressions() for name in metrics_in(expr)}
    assert asked - exported() == set()
    assert all(panel["targets"] or panel["type"] == "alertlist" for panel in PANELS)


@pytest.mark.parametrize("expression", sorted(dashboard_expressions()))
def test_every_metric_is_of_the_chosen_clouds_targets_and_machines(expression: str) -> None:
    metrics = sum(expression.count(f"{name}{{") for name in metrics_in(expression))
    assert metrics > 0
    for selector in SELECTORS:
        assert expression.count(selector) == metrics


def test_panels_do_not_overlap() -> None:
    for one, other in combinations([panel["gridPos"] for panel in PANELS], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in PANELS)


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_numbers_have_units_and_verdicts_have_colours(panel: dict[str, Any]) -> None:
    if panel["type"] in COLOURED:
        steps = defaults(panel)["thresholds"]["steps"]
        # Grafana's own default paints all above 80 red.
        assert steps[0]["value"] is None
        assert [step["value"] for step in steps[1:]] == sorted(step["value"] for step in steps[1:])
    if panel["type"] in COLOURED | {"timeseries"}:
        assert defaults(panel).get("unit") or defaults(panel).get("mappings")


@pytest.mark.parametrize("title", ["State", "Time in each state"])
def test_every_state_has_a_number_a_word_and_a_colour(title: str) -> None:
    (panel,) = (panel for panel in PANELS if panel["title"] == title)
    ((mapping,), expression) = defaults(panel)["mappings"], panel["targets"][0]["expr"]
    words = {each["text"] for each in mapping["options"].values()}
    assert words == set(STATES.values())
    assert all(f'state="{state}"' in expression for state in STATES)
    colours = {each["text"]: each["color"] for each in mapping["options"].values()}
    assert colours[STATES["ok"]] == "green"
    assert {colours[STATES["failed"]], colours[STATES["no_image"]]} == {"red", "dark-red"}


def test_cloud_target_and_machine_can_be_chosen_and_changes_are_marked() -> None:
    names = [each["name"] for each in DASHBOARD["templating"]["list"]]
    assert names == ["datasource", "cloud", "target", "instance"]
    marks = [each["name"] for each in DASHBOARD["annotations"]["list"]]
    assert marks == ["Image promoted", "No image", "Run failed"]
