"""Each alert has a severity and a page that exists, and asks for metrics that retrofit has."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.devcloud.places import CHECKOUT
from tests.unit.monitoring_files import RULES, exported, metrics_in

PAGE = (CHECKOUT / "docs" / "how-to" / "alerts.md").read_text()
HEADINGS = re.findall(r"(?m)^## (\w+)$", PAGE)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_alert_is_complete(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"info", "warning", "critical"}
    url, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert url == "https://docs.example.org/retrofit/how-to/alerts.html"
    assert anchor == rule["alert"].lower()
    assert {"summary", "description", "runbook_url"} == rule["annotations"].keys()
    assert metrics_in(rule["expr"]) - exported() == set()


def test_page_describes_the_alerts_that_exist() -> None:
    assert [rule["alert"] for rule in RULES] == HEADINGS


def test_no_alert_waits_for_longer_than_scraping_lasts_without_a_gap() -> None:
    """What lasts for days is compared with the time when it began."""
    minutes = {"m": 1, "h": 60, "d": 1440}
    for rule in RULES:
        number, unit = int(rule["for"][:-1]), rule["for"][-1]
        assert number * minutes[unit] <= 6 * 60, rule["alert"]
