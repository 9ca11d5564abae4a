"""The overview says the same of a target everywhere, in plain words, whatever state it is in."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import replace
from datetime import timedelta
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from retrofit.audit import audit
from retrofit.config import NotifySettings, Target, WebSettings
from retrofit.metrics import exposition, write_textfile
from retrofit.model import Amphora
from retrofit.overview import STATES, overview, standing
from retrofit.render import show_status
from scheduler.web.page import status_page
from tests.unit import standings
from tests.unit.standings import NOW
from tests.unit.test_audit import OLD, PROMOTED, census_of, runs_on

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((resources.files("retrofit.overview") / "status.schema.json").read_text())


def samples(document: dict[str, Any]) -> dict[str, dict[tuple[str, ...], float]]:
    """Metrics by name, and by the values of their labels in the order of the labels' names."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(exposition(document).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[
                tuple(value for _, value in sorted(sample.labels.items()))
            ] = sample.value
    return found


@pytest.mark.parametrize("state", standings.STATES)
def test_each_state_is_told_by_its_name(state: str) -> None:
    (target,) = standings.document(standings.STATES[state]())["targets"]
    assert target["state"] == state
    assert target["state_words"] == STATES[target["state"]]


def test_all_states_that_exist_are_tried() -> None:
    assert set(standings.STATES) == set(STATES)


@pytest.mark.parametrize("state", standings.STATES)
def test_page_json_metrics_and_status_agree(state: str, tmp_path: Path) -> None:
    scene = standings.STATES[state]()
    document = standings.document(scene)
    (target,) = json.loads(json.dumps(document))["targets"]
    page = status_page(document)
    metrics = samples(document)

    import click

    @click.command()
    @click.option("--output")
    def command(output: str) -> None:
        settings = standings.settings()
        shown = standing(settings.targets[0], settings, scene.cloud, scene.local, now=NOW)
        show_status([shown], output)

    table = CliRunner().invoke(command, ["--output", "table"], catch_exceptions=False).output
    told = json.loads(CliRunner().invoke(command, ["--output", "json"]).output)

    assert told == {key: value for key, value in target.items() if key not in {"amphorae", "runs"}}
    flat = " ".join(re.sub(r"[^\w.:;,()'-]+", " ", table).split())
    for text in (target["summary"], target["next_run"]["sentence"], target["state_words"]):
        assert _escaped(text) in page
        assert " ".join(re.sub(r"[^\w.:;,()'-]+", " ", text).split()) in flat
    assert metrics["retrofit_target_state"] == {
        (each, "default"): float(each == target["state"]) for each in STATES
    }
    image = target["promoted"]
    if image is None:
        assert "retrofit_promoted_image_age_seconds" not in metrics
    else:
        age = metrics["retrofit_promoted_image_age_seconds"][("default",)]
        assert age == pytest.approx(image["age_days"] * 86400)
        created = metrics["retrofit_promoted_image_created_timestamp_seconds"][("default",)]
        assert NOW.timestamp() - created == pytest.approx(image["age_days"] * 86400, rel=0.02)
        assert image["id"] in page
        assert image["id"] in table
        assert image["id"] in {
            label for key in metrics["retrofit_promoted_image_info"] for label in key
        }
    assert metrics["retrofit_lock_held"][("default",)] == (target["running"] is not None)
    assert metrics["retrofit_paused"][("default",)] == (target["paused"] is not None)
    assert metrics["retrofit_cloud_up"][("default",)] == (target["cloud_error"] is None)


def _escaped(text: str) -> str:
    from markupsafe import escape

    return str(escape(text))


@pytest.mark.parametrize("state", [*standings.STATES, "hostile"])
def test_json_is_as_its_schema_says(state: str) -> None:
    scene = standings.hostile() if state == "hostile" else standings.STATES[state]()
    jsonschema.validate(standings.document(scene), SCHEMA)


def test_schema_knows_the_states_that_exist() -> None:
    assert set(SCHEMA["$defs"]["state"]["enum"]) == set(STATES)


def test_schema_refuses_a_document_without_a_state() -> None:
    document = standings.document(standings.good())
    del document["targets"][0]["state"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, SCHEMA)


def test_a_target_in_trouble_says_all_of_it() -> None:
    scene = standings.failed()
    scene = replace(scene, local=replace(scene.local, going=standings.running().local.going))
    (target,) = standings.document(scene)["targets"]
    assert target["states"] == ["running", "failed"]
    assert "The one before failed." in target["summary"]


def test_a_run_that_somebody_stopped_is_no_failure() -> None:
    scene = standings.good()
    stopped = standings.report(
        "failed", hours=0.2, error={"code": "interrupted", "message": "stopped", "hint": None}
    )
    scene = replace(scene, local=replace(scene.local, reports=(stopped, *scene.local.reports)))
    assert standings.document(scene)["targets"][0]["state"] == "good"


def test_what_the_cloud_said_is_kept_and_aged_while_it_does_not_answer() -> None:
    scene = standings.unreachable()
    settings = standings.settings()
    later = overview(
        settings,
        {"default": scene.cloud},
        {"default": scene.local},
        now=NOW + timedelta(days=2),
        host="h",
    )
    (target,) = later["targets"]
    assert target["promoted"]["age_days"] == 6.5
    assert target["promoted"]["id"] in status_page(later)


def test_a_pause_that_ran_out_since_is_over() -> None:
    scene = standings.paused()
    assert scene.cloud.status is not None
    pause = {**scene.cloud.status["paused"], "until": standings.iso(minutes=1)}
    scene = replace(
        scene, cloud=replace(scene.cloud, status={**scene.cloud.status, "paused": pause})
    )
    assert standings.document(scene)["targets"][0]["state"] == "good"


@pytest.mark.parametrize(
    ("hours", "paused", "healthy"), [(25, False, True), (27, False, False), (27, True, True)]
)
def test_health_wants_a_success_in_time_unless_paused(
    hours: float, paused: bool, healthy: bool
) -> None:
    scene = standings.paused() if paused else standings.good()
    chronicle = replace(scene.local.chronicle, last_success_at=standings.iso(hours=hours))
    scene = replace(scene, local=replace(scene.local, chronicle=chronicle))
    document = standings.document(scene)
    assert document["health"]["healthy"] is healthy
    assert ("no successful run since" in str(document["health"]["reasons"])) is not healthy
    assert samples(document)["retrofit_healthy"][()] == healthy


def test_who_just_began_to_look_does_not_complain() -> None:
    began = NOW - timedelta(hours=1)
    assert standings.document(standings.never_run(), since=began)["health"]["healthy"]
    long_ago = NOW - timedelta(hours=30)
    health = standings.document(standings.never_run(), since=long_ago)["health"]
    assert not health["healthy"]


def test_limits_are_those_of_the_settings() -> None:
    scene, settings = standings.good(), standings.settings()
    strict = settings.model_copy(
        update={"notify": NotifySettings(too_old=4), "web": WebSettings(healthy_within=26)}
    )
    shown = standing(strict.targets[0], strict, scene.cloud, scene.local, now=NOW)
    assert shown["state"] == "stale"


@pytest.mark.parametrize("state", [*standings.STATES, "hostile"])
def test_promtool_accepts_the_metrics(state: str) -> None:
    scene = standings.hostile() if state == "hostile" else standings.STATES[state]()
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=exposition(standings.document(scene)),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr.decode(), done.stdout.decode()) == (0, "", "")


def test_textfile_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "retrofit.prom"
    path.write_text("old")
    write_textfile(standings.document(standings.good()), path)
    assert path.read_bytes() == exposition(standings.document(standings.good()))
    assert [each.name for each in tmp_path.iterdir()] == ["retrofit.prom"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_link_that_waits_for_the_textfile_leads_nowhere(tmp_path: Path) -> None:
    """Its directory is node_exporter's, who could name any of root's files."""
    victim, directory = tmp_path / "passwd", tmp_path / "metrics"
    victim.write_text("root")
    victim.chmod(0o600)
    directory.mkdir()
    path = directory / "retrofit.prom"
    for name in (path.name, f".{path.name}.{os.getpid()}"):
        (directory / name).symlink_to(victim)
    write_textfile(standings.document(standings.good()), path)
    assert (victim.read_text(), victim.stat().st_mode & 0o777) == ("root", 0o600)
    assert not path.is_symlink()


@pytest.mark.parametrize("file", ["grafana-dashboard.json", "retrofit.rules.yml"])
def test_dashboard_and_rules_use_metrics_that_exist(file: str) -> None:
    names = set(samples(standings.document(standings.good())))
    used = set(re.findall(r"\bretrofit_\w+", (ROOT / "monitoring" / file).read_text()))
    assert used
    assert used <= names


def test_a_message_of_many_lines_is_told_in_short() -> None:
    scene = standings.failed()
    error = {"code": "build", "message": "it broke\n" * 500, "hint": None}
    first, *rest = scene.local.reports
    reports = ({**first, "error": error}, *rest)
    scene = replace(scene, local=replace(scene.local, reports=reports))
    document = standings.document(scene)
    (target,) = document["targets"]
    assert len(target["summary"]) < 500
    assert target["runs"][0]["error"]["message"] == error["message"]
    assert status_page(document).count("it broke") < 200


def audited(*amphorae: Amphora, unknown: str | None = None) -> dict[str, Any]:
    """The overview of a target in order, with a real audit in it."""
    scene, target = standings.good(), Target()
    found = audit(target, census_of(*amphorae, unknown=unknown), configured=(target,))
    return standings.document(replace(scene, cloud=replace(scene.cloud, audit=found)))


def test_what_the_audit_finds_is_on_the_page_and_in_the_metrics() -> None:
    document = audited(
        runs_on(PROMOTED, "id-of-web", role="MASTER"),
        runs_on(OLD, "id-of-web", role="BACKUP"),
        runs_on(OLD, "id-of-db"),
        runs_on("deleted-image", None, number=2),
    )
    jsonschema.validate(document, SCHEMA)
    page, metrics = status_page(document), samples(document)
    assert "4 amphorae of 2 load balancers" in page
    assert "2 load balancers to fail over" in page
    assert "no outage: one of its two amphorae serves" in page
    assert metrics["retrofit_outdated_load_balancers"] == {("default",): 2}
    assert metrics["retrofit_outdated_amphorae"] == {("default",): 3}
    assert {key: number for key, number in metrics["retrofit_amphorae"].items() if number} == {
        (PROMOTED.id, "default"): 1,
        (OLD.id, "default"): 2,
        ("deleted-image", "default"): 1,
    }
    ages = metrics["retrofit_amphora_image_age_seconds"]
    assert ("deleted-image", "default") not in ages
    assert ages[(OLD.id, "default")] > ages[(PROMOTED.id, "default")]


def test_what_octavia_does_not_tell_is_said_to_be_unknown() -> None:
    document = audited(unknown="Octavia does not answer these credentials")
    jsonschema.validate(document, SCHEMA)
    metrics = samples(document)
    assert "Not known which image they run on: Octavia does not answer" in status_page(document)
    assert metrics["retrofit_octavia_answers"] == {("default",): 0}
    assert "retrofit_amphorae" not in metrics
    assert "retrofit_outdated_load_balancers" not in metrics
