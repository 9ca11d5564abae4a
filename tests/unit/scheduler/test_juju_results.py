"""The results of the charm's actions: keys that Juju takes, and that stay as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from retrofit.errors import BuildError
from retrofit.runs.report import RunReport
from retrofit.runs.report_document import ErrorDocument
from retrofit.status import CloudFacts, LocalFacts, target_status
from scheduler.juju import tools
from scheduler.juju.log import line_for_people
from scheduler.juju.results import joined, of_pause, of_report, of_status
from tests.unit.status import scenes

REPORT_KEYS = {
    "target", "outcome", "reasons", "notes", "image-id", "source-image", "source-product",
    "source-version", "source-series", "promoted", "demoted", "retired", "cleaned-up",
    "verification", "seconds", "run-id", "log-dir", "error-code", "error-message", "error-hint",
}  # fmt: skip
STATUS_KEYS = {
    "target", "state", "summary", "next-run", "cloud", "tag", "image-id", "image-name",
    "image-age-days", "source-product", "source-version", "source-series", "verified-at",
    "verification", "octavia-image", "images", "warnings", "paused", "paused-reason",
    "paused-until", "failed-builds", "failing-message", "retry-at", "last-outcome",
    "last-started-at", "last-run-id", "last-error", "last-success-at", "error-code",
    "error-message", "error-hint",
}  # fmt: skip


def report(**changed: Any) -> RunReport:
    return RunReport(
        run_id="20260911T000000Z-abcdef", target="default", log_dir=Path("/l"), **changed
    )


def test_keys_of_a_report_are_always_the_same() -> None:
    failed = report(notes=["one", "two"], promoted=["a", "b"])
    failed.fail(BuildError("no room", hint="make some"))
    facts = of_report(failed.document())
    assert set(facts) == set(of_report(report(outcome="unchanged").document())) == REPORT_KEYS
    assert (facts["notes"], facts["promoted"]) == ("one; two", "a,b")
    assert (facts["error-code"], facts["error-hint"]) == ("build", "make some")
    assert facts["source-image"] == ""


def test_keys_of_a_status_are_always_the_same() -> None:
    settings, error = scenes.settings(), ErrorDocument(code="cloud", message="no route")
    unknown = target_status(
        settings.targets[0], settings, CloudFacts(error=error), LocalFacts(), now=scenes.NOW
    )
    facts = of_status(unknown)
    assert set(facts) == STATUS_KEYS
    for scene in scenes.STATES.values():
        (status,) = scenes.document(scene()).targets
        assert set(of_status(status)) == STATUS_KEYS
    assert (facts["error-message"], facts["images"], facts["paused"]) == ("no route", "", "no")
    assert (facts["failed-builds"], facts["last-outcome"]) == ("0", "never")


@pytest.mark.parametrize("name", ["noble", "a.b_c", "9", "x-"])
def test_keys_of_several_targets_are_keys_to_juju(name: str) -> None:
    several = [of_pause({"target": each, "paused": None}) for each in (name, "other")]
    facts = joined(several)
    assert len(facts) == sum(len(each) for each in several)
    assert all(tools.KEY.fullmatch(key) for key in facts)
    assert joined(several[:1]) is several[0]


@pytest.mark.parametrize("key", ["a.b", "A", "-a", "a_b", ""])
def test_key_that_juju_would_refuse_is_a_bug(key: str) -> None:
    with pytest.raises(ValueError, match="not keys of action results"):
        tools.set_results({key: "x"})


@pytest.mark.parametrize(
    ("event", "line"),
    [
        ({"event": "in progress", "doing": "uploading", "percent": 40}, "uploading, 40 %"),
        ({"event": "in progress", "doing": "uploading"}, "uploading"),
        (
            {"event": "image promoted", "level": "info", "run_id": "x", "image_id": "7f3c"},
            "image promoted: image_id=7f3c",
        ),
        ({"event": "run ended", "level": "error", "hint": None}, "error: run ended"),
        ({"event": "x", "name": "a\x1b[2J"}, r"x: name='a\x1b[2J'"),
    ],
)
def test_events_become_lines_for_people(event: dict[str, Any], line: str) -> None:
    assert line_for_people(None, "info", event) == line
