"""Production and staging in one project, each with a tag of its own and all else by default."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.integration.harness import RETENTION_AT_ONCE, TAG, CloudHarness

STAGING = "octavia-amphora-staging"
ROUNDS = 5
"""The first image is retired in the third round where two are kept: three retirements."""


@dataclass(kw_only=True)
class Installation:
    """One installation: its command line, its tag, and what it has promoted, in order."""

    harness: CloudHarness
    tag: str
    promoted: list[str] = field(default_factory=list)
    retired: list[str] = field(default_factory=list)

    def run_once(self) -> None:
        report = self.harness.retrofit("run-once", "-o", "json").document
        assert report["outcome"] == "published", report
        self.promoted.append(report["image_id"])
        self.retired += report["retired"]

    def selected(self) -> str | None:
        return self.harness.octavia(self.tag)


@pytest.fixture
def installations(harness: CloudHarness, tmp_path: Path) -> list[Installation]:
    """Two of them, with directories of their own."""
    staging = CloudHarness(
        site=harness.site,
        manager=harness.manager,
        directory=tmp_path / "staging",
        make_image=harness.make_image,
        toml=f'{RETENTION_AT_ONCE}tag = "{STAGING}"\n',
        tags={"default": STAGING},
    )
    staging.directory.mkdir()
    return [Installation(harness=harness, tag=TAG), Installation(harness=staging, tag=STAGING)]


@contextmanager
def asked_in_a_loop(installations: list[Installation]) -> Iterator[dict[str, list[str | None]]]:
    """Ask Octavia's driver for either tag, again and again beside the block."""
    answers: dict[str, list[str | None]] = {each.tag: [] for each in installations}
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            for each in installations:
                answers[each.tag].append(each.selected())

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers
    finally:
        stop.set()
        thread.join()


@pytest.mark.slow
def test_each_octavia_always_gets_the_newest_image_of_its_installation(
    installations: list[Installation],
) -> None:
    site = installations[0].harness
    site.source("20260900")
    for each in installations:
        each.run_once()
    with asked_in_a_loop(installations) as answers:
        for version in range(20260911, 20260911 + ROUNDS - 1):
            site.source(str(version))
            for each in installations:
                each.run_once()
                assert [other.selected() for other in installations] == [
                    other.promoted[-1] for other in installations
                ]
    for each in installations:
        order = [each.promoted.index(answer or "") for answer in answers[each.tag]]
        assert len(order) > ROUNDS
        assert order == sorted(order), "an older image was selected after a newer one"
        assert each.retired == each.promoted[:-2]
        assert len(each.retired) >= 3
    left = {image_id for image_id, image in site.everything().items() if "retrofit_target" in image}
    assert left == {image_id for each in installations for image_id in each.promoted[-2:]}


def test_a_second_installation_that_promotes_nothing_changes_nothing(
    installations: list[Installation],
) -> None:
    """It plans, lists, audits, retires and rolls back beside the first one's images."""
    production, staging = installations
    for version in ("20260911", "20260912"):
        production.harness.source(version)
        production.run_once()
    before = production.harness.everything()
    for words in (["plan"], ["list"], ["status"], ["audit"], ["retire", "--yes"]):
        staging.harness.retrofit(*words, exit_code=None)
    for words in (["rollback", "--yes"], ["promote", production.promoted[0], "--yes"]):
        told = staging.harness.retrofit(*words, exit_code=None)
        assert told.exit_code != 0, told
    assert production.harness.everything() == before
    assert production.selected() == production.promoted[-1]
