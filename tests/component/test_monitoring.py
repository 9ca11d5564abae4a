"""The alert rules alert when they should, and the metrics are well formed, as promtool says."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from retrofit.status.metrics import exposition
from tests.unit.monitoring_files import dashboard_expressions
from tests.unit.status import scenes

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "monitoring" / "retrofit.rules.yml"
ALERTS = ("alerts.test.yml", "alerts-of-days.test.yml")


def promtool(*words: str) -> str:
    done = subprocess.run(
        ["promtool", *words], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_accepts_the_rules() -> None:
    assert "SUCCESS" in promtool("check", "rules", str(RULES))


@pytest.mark.parametrize("alerts", ALERTS)
def test_alerts_come_when_they_should(tmp_path: Path, alerts: str) -> None:
    test = tmp_path / "alerts.yml"
    test.write_text(Path(__file__).with_name(alerts).read_text().replace("[RULES]", f"[{RULES}]"))
    assert "SUCCESS" in promtool("test", "rules", str(test))


def test_promtool_accepts_what_the_dashboard_asks_for(tmp_path: Path) -> None:
    asked = [
        {"record": f"panel:{n}", "expr": expr} for n, expr in enumerate(dashboard_expressions())
    ]
    rules = tmp_path / "dashboard.json"
    rules.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": asked}]}))
    assert f"{len(asked)} rules found" in promtool("check", "rules", str(rules))


@pytest.mark.parametrize("state", [*scenes.STATES, "hostile"])
def test_promtool_accepts_the_metrics(state: str) -> None:
    scene = scenes.hostile() if state == "hostile" else scenes.STATES[state]()
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=exposition(scenes.document(scene)),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr.decode(), done.stdout.decode()) == (0, "", "")
