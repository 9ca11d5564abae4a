"""Status says in words and numbers which fixes the promoted image lacks."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.unit.status import scenes
from tests.unit.status.test_document import samples


def scene(**freshness: Any) -> scenes.Scene:
    ok = scenes.ok()
    plan = scenes.plan(freshness=scenes.freshness(**freshness) if freshness else None)
    return replace(ok, cloud=replace(ok.cloud, plan=plan))


def fixes(*sources: str, days: int = 0) -> list[dict[str, Any]]:
    since = scenes.NOW - timedelta(days=days, minutes=1)
    return [scenes.fix(source, since=since) for source in sources]


@pytest.mark.parametrize(
    ("freshness", "words"),
    [
        ({"security": fixes("haproxy")}, "It lacks 1 security fix (haproxy)."),
        (
            {"security": fixes("haproxy", "openssl", "glibc", days=4)},
            "It lacks 3 security fixes (haproxy, openssl, glibc), the oldest for 4 days.",
        ),
        (
            {"security": fixes("openssl", "openssl", "a", "b", "c", days=1)},
            "It lacks 5 security fixes (openssl, a, b and 1 more), the oldest for 1 day.",
        ),
        (
            {"security": [], "checked_at": None, "unknown": "no answer"},
            "It is not known which security fixes it lacks.",
        ),
    ],
)
def test_summary(freshness: dict[str, Any], words: str) -> None:
    (target,) = scenes.document(scene(**freshness)).targets
    assert target.summary.endswith(words)
    assert target.freshness is not None


@pytest.mark.parametrize("freshness", [{}, {"security": []}])
def test_an_image_that_lacks_nothing_is_not_talked_about(freshness: dict[str, Any]) -> None:
    (target,) = scenes.document(scene(**freshness)).targets
    assert "lack" not in target.summary


def test_a_fix_of_the_agent_is_one_that_the_image_lacks() -> None:
    release = {**fixes("octavia", days=3)[0], "security": False}
    known = scene(security=[], agent=[release])
    (target,) = scenes.document(known).targets
    assert "lack" not in target.summary
    assert "retrofit_security_update_first_seen_timestamp_seconds" not in samples(
        scenes.document(known)
    )
    named = scene(security=[], agent=[{**release, "security": True}])
    (target,) = scenes.document(named).targets
    assert "It lacks 1 security fix (octavia), the oldest for 3 days." in target.summary
    metrics = samples(scenes.document(named))
    (since,) = metrics["retrofit_security_update_first_seen_timestamp_seconds"].values()
    assert scenes.NOW.timestamp() - since == pytest.approx(3 * 86400 + 60)


def test_metrics_count_what_is_pending_and_know_when_nobody_knows() -> None:
    metrics = samples(scenes.document(scene(security=fixes("a", "b", days=2))))
    pending = {label: number for (label, _), number in metrics["retrofit_updates_pending"].items()}
    assert pending == {"security": 2, "other": 0, "held": 0, "agent": 0}
    (since,) = metrics["retrofit_security_update_first_seen_timestamp_seconds"].values()
    assert scenes.NOW.timestamp() - since == pytest.approx(2 * 86400 + 60)
    unknown = samples(scenes.document(scene(security=[], checked_at=None, unknown="no answer")))
    assert "retrofit_updates_pending" not in unknown
    assert "retrofit_archive_checked_timestamp_seconds" not in unknown
