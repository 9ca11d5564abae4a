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

from retrofit import render
from retrofit.config import PublishSettings, SourceSettings, Target
from retrofit.errors import BuildError
from retrofit.model import BuiltImage, Check, Image, Outcome, Usage, Verdict
from retrofit.plan import FailedBuild, Inventory, Pause, plan, rotate
from retrofit.report import RunReport
from retrofit.run_logs import STORY, write_report
from retrofit.source import choose_source
from retrofit.status import image_as_dict
from retrofit.visible import visible
from tests.unit.images import NOW, OWN, amphora, charm_image, synced

CONTROL = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\b\x7f\u202e"
MARKUP = "[red]stop[/red][/] [link=http://x]y[/link]"
HOSTILE = f"{MARKUP}{CONTROL}"
TARGET = Target(publish=PublishSettings(keep=1, retire_unasked_after=9000))


def hostile_image(image: Image) -> Image:
    properties = {
        key: value if key.startswith("retrofit_t") or key.endswith("_at") else value + HOSTILE
        for key, value in image.properties.items()
    }
    return replace(image, name=image.name + HOSTILE, properties=properties)


INVENTORY = Inventory(
    images=(
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
    render.show_images([(TARGET, INVENTORY)], output)


def show_image(output: str, _: Path) -> None:
    render.show_image(INVENTORY.images[0], INVENTORY, TARGET, output)


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
    planned = plan(
        INVENTORY,
        TARGET,
        choice,
        recipe=HOSTILE,
        host="here",
        ask=lambda _: Usage(unknown=HOSTILE),
        failed=FAILED,
        pause=PAUSE,
    )
    render.show_plans([planned], output, verbose=True)


def show_history(output: str, log_dir: Path) -> None:
    render.show_history([report(log_dir).as_dict()], output)


def show_run(output: str, log_dir: Path) -> None:
    log_dir.mkdir()
    write_report(report(log_dir))
    (log_dir / f"evil{CONTROL}.log").write_text("x")
    events = [{"timestamp": "now", "level": "info", "event": HOSTILE, HOSTILE: HOSTILE}]
    (log_dir / STORY).write_text("".join(json.dumps(event) + "\n" for event in events))
    render.show_run(log_dir, output)


def show_pauses(output: str, _: Path) -> None:
    render.show_pauses([{"target": "default", "paused": PAUSE.as_dict()}], output)


def show_status(output: str, log_dir: Path) -> None:
    status = {
        "target": "default",
        "state_words": "unknown",
        "summary": HOSTILE,
        "next_run": {"sentence": HOSTILE},
        "asked_at": None,
        "cloud": HOSTILE,
        "project_id": OWN,
        "tag": "octavia-amphora",
        "promoted": image_as_dict(INVENTORY.images[1], INVENTORY, TARGET),
        "octavia_takes": HOSTILE,
        "images": 2,
        "warnings": [HOSTILE],
        "paused": PAUSE.as_dict(),
        "failing": {**FAILED.as_dict(), "retry_at": "later"},
        "last_run": report(log_dir).as_dict(),
    }
    render.show_status([status], output)


ALL: list[Callable[[str, Path], None]] = [
    show_images, show_image, show_retirement, show_built, show_verdict, show_reports, show_plans,
    show_history, show_run, show_pauses, show_status,
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


def repr_free(document: Any) -> str:
    """All text of a document, keys too."""
    if isinstance(document, dict):
        return "".join(repr_free(key) + repr_free(value) for key, value in document.items())
    if isinstance(document, list):
        return "".join(map(repr_free, document))
    return str(document)


def test_every_answer_is_tried() -> None:
    named = {show.__name__ for show in ALL} | {
        "show_audits",  # tests/unit/test_audit.py and others
        "show_settings",  # the operator's own words
    }
    assert {name for name in dir(render) if name.startswith("show_")} <= named


@given(st.text())
def test_visible_leaves_nothing_that_a_terminal_obeys_and_all_that_people_read(text: str) -> None:
    shown = visible(text)
    assert all(letter.isprintable() or letter in "\n\t" for letter in shown)
    assert visible(shown) == shown
    if text.isprintable():
        assert shown == text


def test_visible_writes_out_what_cannot_be_seen() -> None:
    assert visible("a\x1b[1mb\x9b\x7f\r\n\tc\u202e") == "a\\x1b[1mb\\x9b\\x7f\\r\n\tc\\u202e"
    assert visible("Zürich → \udc80") == "Zürich → \\udc80"
