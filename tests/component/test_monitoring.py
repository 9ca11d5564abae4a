"""The alert rules alert when they should, as promtool says; the dashboard is one."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "monitoring" / "retrofit.rules.yml"
ALERTS = Path(__file__).with_name("alerts.test.yml")


def promtool(*words: str) -> str:
    done = subprocess.run(
        ["promtool", *words], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_accepts_the_rules() -> None:
    assert "SUCCESS" in promtool("check", "rules", str(RULES))


def test_alerts_come_when_they_should(tmp_path: Path) -> None:
    test = tmp_path / "alerts.yml"
    test.write_text(ALERTS.read_text().replace("[RULES]", f"[{RULES}]"))
    assert "SUCCESS" in promtool("test", "rules", str(test))


def test_every_panel_of_the_dashboard_asks_for_something() -> None:
    dashboard = json.loads((ROOT / "monitoring" / "grafana-dashboard.json").read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all("retrofit_" in each["expr"] for panel in panels for each in panel["targets"])
