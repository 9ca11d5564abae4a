"""Page, JSON, metrics and `retrofit status` agree about a target in every state."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from retrofit.cli.render import show_status
from retrofit.config import PublishSettings, Target, WebSettings
from retrofit.fleet.audit import audit
from retrofit.model import Amphora
from retrofit.operations.status import exit_code_of
from retrofit.runs.report_document import ErrorDocument
from retrofit.status import STATES, LocalFacts, StatusDocument, status_document, target_status
from retrofit.status.metrics import OLD_STATES, exposition
from retrofit.status.models import json_schema
from retrofit.status.textfile import write_textfile
from scheduler.web.page import status_page
from tests.answers import answer
from tests.unit.fleet.test_audit import OLD, PROMOTED, fleet_observation, runs_on
from tests.unit.status import scenes
from tests.unit.status.scenes import NOW

ROOT = Path(__file__).resolve().parents[3]
DETAILS = {"amphorae", "image_list", "octavia_query", "rollover", "runs"}
"""What the status document has besides what `retrofit status` shows."""
SCHEMA = json.loads(json.dumps(json_schema()))


def samples(document: StatusDocument) -> dict[str, dict[tuple[str, ...], float]]:
    """Metrics by name, and by the values of their labels in the order of the labels' names."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(exposition(document).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[
                tuple(value for _, value in sorted(sample.labels.items()))
            ] = sample.value
    return found


@pytest.mark.parametrize("state", scenes.STATES)
def test_each_state_is_told_by_its_name(state: str) -> None:
    (target,) = scenes.document(scenes.STATES[state]()).targets
    assert target.state == state
    assert target.state_words == STATES[target.state]


def test_all_states_that_exist_are_tried() -> None:
    assert set(scenes.STATES) == set(STATES)


@pytest.mark.parametrize("state", scenes.STATES)
def test_page_json_metrics_and_status_agree(state: str, tmp_path: Path) -> None:
    scene = scenes.STATES[state]()
    document = scenes.document(scene)
    (target,) = json.loads(json.dumps(document.as_dict()))["targets"]
    page = status_page(document)
    metrics = samples(document)

    import click

    @click.command()
    @click.option("--output")
    def command(output: str) -> None:
        settings = scenes.settings()
        shown = target_status(settings.targets[0], settings, scene.cloud, scene.local, now=NOW)
        show_status([shown], output)

    table = CliRunner().invoke(command, ["--output", "table"], catch_exceptions=False).output
    told = answer(CliRunner().invoke(command, ["--output", "json"]).output)

    assert told == {key: value for key, value in target.items() if key not in DETAILS}
    flat = " ".join(re.sub(r"[^\w.:;,()'-]+", " ", table).split())
    for text in (target["summary"], target["next_run"]["sentence"], target["state_words"]):
        assert _escaped(text) in page
        assert " ".join(re.sub(r"[^\w.:;,()'-]+", " ", text).split()) in flat
    assert metrics["retrofit_target_state"] == {
        (label, "default"): float(state == target["state"])
        for state in STATES
        for label in {state, OLD_STATES.get(state, state)}
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


@pytest.mark.parametrize("state", [*scenes.STATES, "hostile"])
def test_json_is_as_its_schema_says(state: str) -> None:
    scene = scenes.hostile() if state == "hostile" else scenes.STATES[state]()
    jsonschema.validate(scenes.document(scene).as_dict(), SCHEMA)


def test_schema_knows_the_states_that_exist() -> None:
    assert set(SCHEMA["$defs"]["TargetDetails"]["properties"]["state"]["enum"]) == set(STATES)
    assert SCHEMA["properties"]["version"]["const"] == 2


def test_schema_refuses_a_document_without_a_state() -> None:
    document = scenes.document(scenes.ok()).as_dict()
    del document["targets"][0]["state"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, SCHEMA)


def test_a_target_in_trouble_says_all_of_it() -> None:
    scene = scenes.failed()
    scene = replace(scene, local=replace(scene.local, running=scenes.running().local.running))
    (target,) = scenes.document(scene).targets
    assert target.states == ("running", "failed")
    assert "The run before failed." in target.summary


def without_image(scene: scenes.Scene, *, octavia_image: str | None = None) -> scenes.Scene:
    """The same, after another hand hid the promoted image."""
    known = scene.cloud.target or scenes.in_cloud(scenes.image())
    lost = replace(known, promoted=None, octavia_image=octavia_image)
    cloud = replace(scene.cloud, target=lost, asked_at=scene.cloud.asked_at or NOW)
    return replace(scene, cloud=cloud)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ("running", "A run is in progress"),
        ("paused", "No run promotes one before that."),
        ("failed", "The last run failed:"),
        ("backoff", "Builds fail"),
        ("cloud_unreachable", "The cloud does not answer"),
        ("stale", "no load balancer can start."),
        ("ok", "no load balancer can start."),
    ],
)
def test_without_an_image_no_other_state_hides_that(other: str, words: str) -> None:
    document = scenes.document(without_image(scenes.STATES[other]()))
    (target,) = document.targets
    assert target.state == "no_image"
    assert {other, "no_image"} - {"ok"} <= {*target.states, "stale"}
    assert "No image is promoted: no load balancer can start." in target.summary
    assert words in target.summary
    assert not document.health.healthy
    assert document.health.reasons[0] == (
        "default: Octavia finds no image with the tag octavia-amphora"
    )
    assert samples(document)["retrofit_healthy"][()] == 0
    assert exit_code_of(document.targets) == 9


def test_where_octavia_selects_another_image_a_target_is_degraded_and_no_emergency() -> None:
    document = scenes.document(without_image(scenes.ok(), octavia_image="of-the-charm"))
    assert document.targets[0].state == "no_image"
    assert document.health.healthy
    assert exit_code_of(document.targets) == 8


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("ok", 0),
        ("running", 0),
        ("paused", 0),
        ("failed", 8),
        ("backoff", 8),
        ("stale", 8),
        ("cloud_unreachable", 8),
        ("no_image", 9),
        ("never_run", 9),
    ],
)
def test_the_exit_code_of_each_state(state: str, code: int) -> None:
    bad = scenes.document(scenes.STATES[state]()).targets
    assert exit_code_of(bad) == code
    assert exit_code_of((*scenes.document(scenes.ok()).targets, *bad)) == code


def test_a_run_that_somebody_stopped_is_no_failure() -> None:
    scene = scenes.ok()
    stopped = scenes.report(
        "failed", hours=0.2, error={"code": "interrupted", "message": "stopped", "hint": None}
    )
    scene = replace(scene, local=replace(scene.local, reports=(stopped, *scene.local.reports)))
    assert scenes.document(scene).targets[0].state == "ok"


def test_what_the_cloud_said_is_kept_and_aged_while_it_does_not_answer() -> None:
    scene = scenes.cloud_unreachable()
    settings = scenes.settings()
    later = status_document(
        settings,
        {"default": scene.cloud},
        {"default": scene.local},
        now=NOW + timedelta(days=2),
        host="h",
    )
    (target,) = later.targets
    assert target.promoted is not None
    assert target.promoted.age_days == 6.5
    assert target.promoted.id in status_page(later)


def test_a_pause_that_ran_out_since_is_over() -> None:
    scene = scenes.paused()
    known = scene.cloud.target
    assert known is not None
    assert known.paused is not None
    ended = known.paused.model_copy(update={"until": scenes.ago(minutes=1)})
    scene = replace(scene, cloud=replace(scene.cloud, target=replace(known, paused=ended)))
    assert scenes.document(scene).targets[0].state == "ok"


@pytest.mark.parametrize(
    ("hours", "paused", "healthy"), [(25, False, True), (27, False, False), (27, True, True)]
)
def test_health_wants_a_success_in_time_unless_paused(
    hours: float, paused: bool, healthy: bool
) -> None:
    scene = scenes.paused() if paused else scenes.ok()
    history = scene.local.history.model_copy(update={"last_success_at": scenes.ago(hours=hours)})
    scene = replace(scene, local=replace(scene.local, history=history))
    document = scenes.document(scene)
    assert document.health.healthy is healthy
    assert ("no successful run since" in str(document.health.reasons)) is not healthy
    assert samples(document)["retrofit_healthy"][()] == healthy


def test_who_just_began_to_look_does_not_complain() -> None:
    began = NOW - timedelta(hours=1)
    assert scenes.document(scenes.never_run(), since=began).health.healthy
    long_ago = NOW - timedelta(hours=30)
    health = scenes.document(scenes.never_run(), since=long_ago).health
    assert not health.healthy


def test_limits_are_those_of_the_settings() -> None:
    scene, settings = scenes.ok(), scenes.settings()
    strict = settings.model_copy(
        update={
            "targets": (Target(publish=PublishSettings(stale_after=4)),),
            "web": WebSettings(healthy_within=26),
        }
    )
    shown = target_status(strict.targets[0], strict, scene.cloud, scene.local, now=NOW)
    assert shown.state == "stale"


def test_textfile_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "retrofit.prom"
    path.write_text("old")
    write_textfile(scenes.document(scenes.ok()), path)
    assert path.read_bytes() == exposition(scenes.document(scenes.ok()))
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
    write_textfile(scenes.document(scenes.ok()), path)
    assert (victim.read_text(), victim.stat().st_mode & 0o777) == (
        "root",
        0o600,
    )
    assert not path.is_symlink()


def _sample(samples: dict[tuple[str, ...], float], label: str) -> float:
    (value,) = [value for labels, value in samples.items() if label in labels]
    return value


def test_label_values_of_0_1_are_exported_beside_those_of_today() -> None:
    scene = scenes.backoff()
    counts = {"locked": 2, "backoff": 5, "failed": 1}
    history = scene.local.history.model_copy(
        update={"run_counts": counts, "step_seconds": {"clean-up": 0.2}}
    )
    scene = replace(scene, local=replace(scene.local, history=history))
    states = ("rejected", "untagged", "ready")
    others = (scenes.image(id=each, promoted=False, state=each) for each in states)
    known = scenes.in_cloud(scenes.image(), scenes.older(), *others)
    scene = replace(scene, cloud=replace(scene.cloud, target=known))
    metrics = samples(scenes.document(scene))
    images = {label: number for (label, _), number in metrics["retrofit_images"].items() if number}
    today = {"promoted": 1, "rejected": 1, "untagged": 1, "ready": 1, "demoted": 1}
    assert images == {**today, "kept": 2, "set_aside": 2}
    for name, new, old, value in (
        ("retrofit_target_state", "backoff", "waiting", 1),
        ("retrofit_target_state", "ok", "good", 0),
        ("retrofit_target_state", "no_image", "missing", 0),
        ("retrofit_target_state", "cloud_unreachable", "unreachable", 0),
        ("retrofit_last_run_outcome", "backoff", "waiting", 1),
        ("retrofit_step_duration_seconds", "clean-up", "sweep", 0.2),
        ("retrofit_last_run_outcome", "locked", "busy", 0),
        ("retrofit_runs_total", "backoff", "waiting", 5),
        ("retrofit_runs_total", "locked", "busy", 2),
    ):
        found = {label: _sample(metrics[name], label) for label in (new, old)}
        assert found == {new: value, old: value}, name
    help_texts = exposition(scenes.document(scene)).decode()
    assert "Through 0.2 the values of 0.1 are exported too: busy for locked" in help_texts


@pytest.mark.parametrize("file", ["grafana-dashboard.json", "retrofit.rules.yml"])
def test_dashboard_and_rules_use_metrics_that_exist(file: str) -> None:
    names = {name for scene in scenes.STATES.values() for name in samples(scenes.document(scene()))}
    used = set(re.findall(r"\bretrofit_\w+", (ROOT / "monitoring" / file).read_text()))
    assert used
    assert used <= names


def test_a_message_of_many_lines_is_told_in_short() -> None:
    scene = scenes.failed()
    error = ErrorDocument(code="build", message="it broke\n" * 500)
    first, *rest = scene.local.reports
    reports = (first.model_copy(update={"error": error}), *rest)
    scene = replace(scene, local=replace(scene.local, reports=reports))
    document = scenes.document(scene)
    (target,) = document.targets
    assert len(target.summary) < 500
    assert target.runs[0].error == error
    assert status_page(document).count("it broke") < 200


def audited(*amphorae: Amphora, unknown: str | None = None) -> StatusDocument:
    """The status of a target in order, with a real audit in it."""
    scene, target = scenes.ok(), Target()
    found = audit(target, fleet_observation(*amphorae, unknown=unknown), configured=(target,))
    return scenes.document(replace(scene, cloud=replace(scene.cloud, audit=found)))


def test_what_the_audit_finds_is_on_the_page_and_in_the_metrics() -> None:
    document = audited(
        runs_on(PROMOTED, "id-of-web", role="MASTER"),
        runs_on(OLD, "id-of-web", role="BACKUP"),
        runs_on(OLD, "id-of-db"),
        runs_on("deleted-image", None, number=2),
    )
    jsonschema.validate(document.as_dict(), SCHEMA)
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
    jsonschema.validate(document.as_dict(), SCHEMA)
    metrics = samples(document)
    assert "Not known which image they run on: Octavia does not answer" in status_page(document)
    assert metrics["retrofit_octavia_answers"] == {("default",): 0}
    assert "retrofit_amphorae" not in metrics
    assert "retrofit_outdated_load_balancers" not in metrics


def test_a_machine_without_records_sees_the_loss_of_an_image_that_another_made() -> None:
    """As after its first run found a pause, or its records were lost."""
    scene = scenes.no_image()
    assert scene.cloud.target is not None
    stands = scenes.ok().cloud.target
    assert stands is not None
    lost = replace(scene.cloud.target, images=stands.images)
    cloud = replace(scene.cloud, target=lost)
    document = scenes.document(replace(scene, cloud=cloud, local=LocalFacts()))
    assert document.targets[0].state == "no_image"
    assert not document.health.healthy


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("cloud", "The cloud does not answer: "),
        ("cloud-denied", "The cloud refuses the credentials: "),
        ("config", "The cloud is not configured: "),
        ("internal", "The cloud was not asked: "),
    ],
)
def test_a_cloud_that_refuses_or_is_not_configured_answers_otherwise(code: str, words: str) -> None:
    scene = scenes.ok()
    error = ErrorDocument(code=code, message="something", hint=None)
    cloud = replace(scene.cloud, error=error, target=None, asked_at=None)
    (target,) = scenes.document(replace(scene, cloud=cloud)).targets
    assert target.summary.startswith(words)
    # What was promoted is known from this machine's own runs.
    assert f"left image {scenes.IMAGE} promoted." in target.summary
