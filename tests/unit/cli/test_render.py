"""What others wrote reaches a terminal as text: no command to it, and no markup of ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from retrofit.cli import render
from retrofit.config import PublishSettings, Settings, SourceSettings, Target
from retrofit.errors import BuildError
from retrofit.model import BuiltImage, Check, Image, Outcome, Usage, Verdict
from retrofit.operations.cancel import Cancelled
from retrofit.operations.diff import DiffDocument
from retrofit.operations.history import read_logs
from retrofit.plan import Facts, FailedBuild, Inventory, Pause, Promotion, plan, rotate
from retrofit.runs.directory import write_report
from retrofit.runs.events import FILE as EVENTS
from retrofit.runs.report import RunReport
from retrofit.runs.running import RunningRun
from retrofit.source.choose import choose_source
from retrofit.status import CloudFacts, LocalFacts, TargetInCloud, target_status
from retrofit.status.models import (
    FailedBuildDocument,
    FailingDocument,
    PauseDocument,
    PlanDocument,
)
from retrofit.status.target import image_document
from retrofit.system.escape import escaped
from tests.unit.images import NOW, OWN, amphora, charm_image, synced

CONTROL = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\b\x7f\u202e"
MARKUP = "[red]stop[/red][/] [link=http://x]y[/link]"
HOSTILE = f"{MARKUP}{CONTROL}"
TARGET = Target(publish=PublishSettings(keep=1, retire_after_unknown=9000))


def hostile_image(image: Image) -> Image:
    properties = {
        key: value if key in IDENTITY or key.endswith("_at") else value + HOSTILE
        for key, value in image.properties.items()
    }
    return replace(image, name=image.name + HOSTILE, properties=properties)


IDENTITY = {
    "retrofit_image_id", "retrofit_installation", "retrofit_tag", "retrofit_target"
}  # fmt: skip
INVENTORY = Inventory(
    images=(
        hostile_image(amphora(0, tagged=True, tag="other")),
        hostile_image(amphora(1)),
        hostile_image(amphora(2, tagged=True)),
        replace(charm_image(3), name=HOSTILE),
    ),
    own_project=OWN,
    now=NOW,
)
PAUSE = Pause(reason=HOSTILE, since=NOW, by=HOSTILE, until=NOW + timedelta(hours=1))
FAILED = FailedBuild(
    inputs=HOSTILE, count=2, last_at=NOW, code="build", message=HOSTILE, run_id="x"
)
VERDICT = Verdict(
    checks=(Check(name="haproxy", outcome=Outcome.FAILED, detail=HOSTILE),),
    how="offline",
    facts={"haproxy_version": HOSTILE},
)


def report(log_dir: Path) -> RunReport:
    made = RunReport(run_id="20261122T120000Z-abcdef", target="default", log_dir=log_dir)
    made.reasons.append(HOSTILE)
    made.notes.append(HOSTILE)
    made.source = choose_source([synced()], SourceSettings(), own_project=OWN).source
    made.verdict = VERDICT
    made.fail(BuildError(HOSTILE, hint=HOSTILE))
    return made


def show_images(output: str, _: Path) -> None:
    rows = [image_document(image, INVENTORY, TARGET) for image in INVENTORY.images]
    render.show_images(rows, output)


def show_image(output: str, _: Path) -> None:
    image = INVENTORY.images[0]
    render.show_image(image_document(image, INVENTORY, TARGET), image.properties, output)


def show_retirement(output: str, _: Path) -> None:
    usage = Usage(unknown=HOSTILE)
    rotation = rotate(INVENTORY, TARGET, promoted="amphora-0002", usage=usage)
    assert rotation.notes
    render.show_retirement([(TARGET, rotation)], output)


def show_built(output: str, _: Path) -> None:
    built = BuiltImage(
        path=Path("/tmp") / MARKUP[0:11] / HOSTILE,
        disk_format="qcow2",
        size=1,
        virtual_size=1,
        min_disk=1,
        sha512="0",
    )
    render.show_built(built, output)


def show_verdict(output: str, log_dir: Path) -> None:
    render.show_verdict(VERDICT, log_dir, output)


def show_reports(output: str, log_dir: Path) -> None:
    render.show_reports([report(log_dir)], output)


def show_plans(output: str, _: Path) -> None:
    foreign = synced("20260912", owner="tenant", name=HOSTILE)
    choice = choose_source(
        [synced("20260912" + HOSTILE), foreign], SourceSettings(), own_project=OWN
    )
    facts = Facts(
        inventory=INVENTORY,
        choice=choice,
        recipe=HOSTILE,
        usage=Usage(unknown=HOSTILE),
        failed=FAILED,
        pause=PAUSE,
    )
    render.show_plans([plan(facts, TARGET)], output, verbose=True)


def show_history(output: str, log_dir: Path) -> None:
    render.show_history([report(log_dir).document()], output)


def show_run(output: str, log_dir: Path) -> None:
    log_dir.mkdir()
    write_report(report(log_dir))
    (log_dir / f"evil{CONTROL}.log").write_text("x")
    events = [{"timestamp": "now", "level": "info", "event": HOSTILE, HOSTILE: HOSTILE}]
    (log_dir / EVENTS).write_text("".join(json.dumps(event) + "\n" for event in events))
    render.show_run(read_logs(log_dir), output)


def show_pauses(output: str, _: Path) -> None:
    render.show_pauses([{"target": "default", "paused": PAUSE.as_dict()}], output)


def show_status(output: str, log_dir: Path) -> None:
    image = image_document(INVENTORY.images[1], INVENTORY, TARGET)
    known = TargetInCloud(
        cloud=HOSTILE,
        project_id=OWN,
        promoted=image,
        octavia_image=HOSTILE,
        images=(image,),
        warnings=(HOSTILE,),
        paused=PauseDocument.of(PAUSE),
        failing=FailingDocument(**dict(FailedBuildDocument.of(FAILED)), retry_at=NOW),
    )
    plan = PlanDocument(action="build", reasons=(HOSTILE,))
    status = target_status(
        TARGET,
        Settings(targets=(TARGET,)),
        CloudFacts(asked_at=NOW, target=known, plan=plan),
        LocalFacts(reports=(report(log_dir).document(),)),
        now=NOW,
    )
    render.show_status([status], output)


def show_cancelled(output: str, _: Path) -> None:
    run = RunningRun(pid=7, run_id="20261122T120000Z-abcdef", since=NOW, doing=HOSTILE)
    render.show_cancelled(Cancelled(target="default", run=run), output)


def show_diff(output: str, _: Path) -> None:
    image = {"id": "x", "name": HOSTILE, "created_at": NOW}
    package = {"package": HOSTILE, "before": HOSTILE, "after": None}
    found = DiffDocument.model_validate(
        {
            "target": "default",
            "before": image,
            "after": image,
            "packages": [package],
            "checks": [{"name": HOSTILE, "before": HOSTILE, "after": HOSTILE}],
            "properties": [],
            "unknown": HOSTILE,
        }
    )
    render.show_diff(found, output)


ALL: list[Callable[[str, Path], None]] = [
    show_images, show_image, show_retirement, show_built, show_verdict, show_reports, show_plans,
    show_history, show_run, show_pauses, show_status, show_cancelled, show_diff,
]  # fmt: skip


@pytest.mark.parametrize("show", ALL, ids=lambda show: show.__name__)
def test_tables_show_hostile_text_and_do_nothing_that_it_says(
    show: Callable[[str, Path], None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    show("table", tmp_path / "run")
    printed = capsys.readouterr().out
    assert not [letter for letter in printed if not letter.isprintable() and letter != "\n"]
    assert "\\x1b" in printed
    assert "[red]stop" in printed


@pytest.mark.parametrize("output", ["json", "yaml"])
@pytest.mark.parametrize("show", ALL, ids=lambda show: show.__name__)
def test_programs_get_the_text_as_it_is_in_escapes(
    show: Callable[[str, Path], None],
    output: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    show(output, tmp_path / "run")
    printed = capsys.readouterr().out
    assert not {"\x1b", "\x9b", "\r", "\b", "\u202e"} & set(printed)
    read: Any = json.loads(printed) if output == "json" else yaml.safe_load(printed)
    assert CONTROL in repr_free(read)


def test_the_question_shows_what_decides_and_marks_what_differs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    older, newer = INVENTORY.images[:2]
    wanted = Promotion(image=older, previous=newer, reject=(), known_ids=frozenset())
    render.show_choice(TARGET, wanted)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert not [letter for letter in shown.err if not letter.isprintable() and letter != "\n"]
    for name in ("id", "created", "source", "verified"):
        assert f" {name} " in shown.err
    assert "* id" in shown.err
    assert older.id in shown.err
    assert newer.id in shown.err


def repr_free(document: Any) -> str:
    """All text of a document, keys too."""
    if isinstance(document, dict):
        return "".join(repr_free(key) + repr_free(value) for key, value in document.items())
    if isinstance(document, list):
        return "".join(map(repr_free, document))
    return str(document)


def test_every_answer_is_tried() -> None:
    named = {show.__name__ for show in ALL} | {
        "show_audits",  # tests/unit/fleet/test_audit.py and others
        "show_settings",  # the operator's own words
        "show_choice",  # above
    }
    assert {name for name in dir(render) if name.startswith("show_")} <= named


@given(st.text())
def test_visible_leaves_nothing_that_a_terminal_obeys_and_all_that_people_read(text: str) -> None:
    shown = escaped(text)
    assert all(letter.isprintable() or letter in "\n\t" for letter in shown)
    assert escaped(shown) == shown
    if text.isprintable():
        assert shown == text


def test_visible_writes_out_what_cannot_be_seen() -> None:
    assert escaped("a\x1b[1mb\x9b\x7f\r\n\tc\u202e") == "a\\x1b[1mb\\x9b\\x7f\\r\n\tc\\u202e"
    assert escaped("Zürich → \udc80") == "Zürich → \\udc80"
