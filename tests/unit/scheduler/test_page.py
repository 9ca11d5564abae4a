"""What the pages show besides the states: images, authors, hints, steps, failed checks first."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from retrofit.config import Settings
from scheduler.web.app import Application
from scheduler.web.page import run_page, status_page, what_ended
from scheduler.web.snapshot import Rendering
from tests.unit.status import scenes

AUTHOR = {
    "at": scenes.iso(hours=2),
    "by": "ubuntu@controller-1",
    "run_id": "20261122T100000Z-abcdef",
    "action": "rollback",
    "why": "TLS handshakes fail",
    "phrase": "ubuntu@controller-1, rollback, run 20261122T100000Z-abcdef: TLS handshakes fail",
}


def shown(scene: scenes.Scene) -> str:
    return " ".join(status_page(scenes.document(scene)).split())


def with_images(*images: Any) -> scenes.Scene:
    scene = scenes.ok()
    return replace(scene, cloud=replace(scene.cloud, target=scenes.in_cloud(*images)))


def test_images_are_listed_with_state_and_author() -> None:
    rejected = scenes.image(
        id=scenes.OLDER, promoted=False, state="rejected", rejected=True, rejected_by=AUTHOR
    )
    page = shown(with_images(scenes.image(), rejected))
    row = re.search(rf"<tr><td[^>]*><code[^>]*>{scenes.OLDER}.*?</tr>", page)
    assert row is not None
    assert "rejected ubuntu@controller-1, rollback" in row[0]
    assert "TLS handshakes fail" in row[0]
    assert ">rejected<" in row[0]


def of_packages(**freshness: Any) -> str:
    """Return what the page shows of a target's packages."""
    ok = scenes.ok()
    plan = scenes.plan(freshness=scenes.freshness(security=[], **freshness))
    page = shown(replace(ok, cloud=replace(ok.cloud, plan=plan)))
    found = re.search(r"<h3>Packages</h3>(.*?)<h3>", page)
    assert found is not None
    return found[1]


def test_releases_of_the_agent_are_shown_and_those_with_a_fix_as_fixes() -> None:
    release = {**scenes.fix("octavia", since=None), "security": False}
    found = of_packages(agent=[release])
    assert "Of the agent's Python: octavia 1 → 2." in found
    assert "lacks" not in found
    found = of_packages(agent=[{**release, "security": True, "cves": ["CVE-2026-1234"]}])
    assert "lacks <b>1</b> security fix." in found
    assert "<li>octavia 1 → 2 (CVE-2026-1234)</li>" in found


@pytest.mark.parametrize(
    ("agent", "of"), [("no answer", "of the agent's"), (None, "in the archive")]
)
def test_whose_newer_packages_are_not_known_is_shown(agent: str | None, of: str) -> None:
    found = of_packages(unknown="no answer", agent_unknown=agent)
    assert f"Not known which are newer {of}: no answer." in found


@pytest.mark.parametrize("state", ["failed", "backoff"])
def test_hint_of_the_last_run_is_shown(state: str) -> None:
    page = shown(scenes.STATES[state]())
    assert "<b>What to do:</b> the evidence is in /var/log/retrofit." in page


def test_no_hint_of_a_run_before_the_last() -> None:
    assert "What to do" not in shown(scenes.ok())  # one of its runs failed once


@pytest.mark.parametrize(
    ("action", "outcome", "words"),
    [
        ("rollback", "promoted", "went back to an older image"),
        ("promote", "promoted", "promoted an image"),
        ("repair", "promoted", "brought an image back: Octavia found none"),
        ("rollback", "unchanged", "changed nothing"),
        ("promote", "failed", "promote: failed"),
        ("run", "interrupted", "was interrupted"),
        ("pause", "paused", "paused runs"),
        ("run", "paused", "did nothing: paused"),
        ("run", "published", "published a new image"),
    ],
)
def test_runs_and_commands_end_in_their_own_words(action: str, outcome: str, words: str) -> None:
    assert what_ended(action, outcome) == words


def test_a_rollback_shows_by_whom_and_why() -> None:
    scene = scenes.ok()
    report = scenes.report(
        "promoted", action="rollback", by="ubuntu@controller-1", order="TLS handshakes fail"
    )
    page = shown(replace(scene, local=replace(scene.local, reports=(report,))))
    assert "went back to an older image" in page
    assert "by ubuntu@controller-1" in page
    assert "TLS handshakes fail" in page


def checks(*outcomes: str) -> dict[str, Any]:
    rows = [{"name": f"check-{each}", "outcome": each, "detail": ""} for each in outcomes]
    return {"how": "full-kvm", "passed": False, "facts": {}, "checks": rows}


def test_failed_checks_come_first_and_words_do_not_break() -> None:
    report = scenes.report(
        "failed", verification=checks("passed", "skipped", "failed", "not applicable", "warned")
    )
    page = run_page(report.run_id, report, [])
    assert re.findall(r">check-([a-z ]+)<", page) == [
        "failed", "warned", "skipped", "passed", "not applicable",
    ]  # fmt: skip
    assert page.count('<td class="word">') == 10


def test_page_of_a_run_has_steps_duration_machine_and_author() -> None:
    report = scenes.report("published", by="root@c1", host="c1", version="0.2.0")
    page = run_page(report.run_id, report, [("build.log", 282536)])
    for text in ("build 5 min 12 s", "9 min 27 s", "c1, retrofit 0.2.0", "root@c1", "276 KiB"):
        assert text in page, text
    assert page.count("<rect ") == len(report.steps)


def test_page_of_a_run_of_0_1_0_lacks_what_it_did_not_record() -> None:
    report = scenes.report("published")
    assert "Machine" not in run_page(report.run_id, report, [])


class Shown:
    def __init__(self) -> None:
        self.latest = Rendering.of(scenes.document(scenes.ok()))


@pytest.mark.parametrize(("query", "reloads"), [("", True), ("still", False)])
def test_the_page_loads_itself_again_unless_it_is_to_stand_still(query: str, reloads: bool) -> None:
    headers: dict[str, str] = {}

    def start(_status: str, sent: list[tuple[str, str]]) -> None:
        headers.update(sent)

    settings: Settings = scenes.settings()
    request = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/",
        "QUERY_STRING": query,
        "HTTP_HOST": "localhost",
    }
    Application(Shown(), lambda: settings)(request, start)
    assert (headers.get("Refresh") == "60") is reloads
