"""Known defects of agents in an image's files, and what the agent lacks there."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from retrofit.config import BuildSettings, VerifySettings
from retrofit.control_plane.agents import (
    ALTERNATIVE_NAMES,
    BRACKETS,
    CONFIGURATION_UPDATE,
    FORKED_SENDER,
    INTERFACE_RULES,
    LVS_OF_BOTH_FAMILIES,
    Trait,
)
from retrofit.control_plane.certificates import CHECK, Certificates, Client, Judgement
from retrofit.control_plane.expectation import Expectation
from retrofit.control_plane.releases import stated
from retrofit.model import Outcome
from retrofit.system.progress import silent
from retrofit.verify.checks import CheckFailedError, Record, WarningError
from retrofit.verify.control_plane.files import infer_certificates, judge_agent
from retrofit.verify.offline import Subject
from retrofit.verify.offline.defects import agent_known_defects
from retrofit.verify.request import VerifyRequest
from retrofit.verify.verify import FILES, _judge_files
from tests.unit import amphora_tree

PYTHON = "\nPackage: python3\nStatus: install ok installed\nArchitecture: amd64\nVersion: {}-1\n"
EXPECTED = Expectation(plane=stated("2025.1", "octavia.release"), used=frozenset({"sr-iov-vip"}))


@pytest.fixture
def image(tmp_path: Path) -> Callable[..., Subject]:
    """An image on a Python, whose agent has not the given traits."""

    def make(*without: Trait, python: str = "3.12.3") -> Subject:
        amphora_tree.make(tmp_path)
        status = tmp_path / "var/lib/dpkg/status"
        status.write_text(status.read_text() + PYTHON.format(python))
        for trait in without:
            file = tmp_path / f"{amphora_tree.SITE}/octavia/{trait.file}".lstrip("/")
            file.write_text(file.read_text().replace(trait.mark, "of another time"))
        return amphora_tree.subject(tmp_path)

    return make


def test_an_agent_with_every_fix_in_its_files_passes_whatever_its_version(
    image: Callable[..., Subject],
) -> None:
    # The tree's agent calls itself 14.0.0, which by version alone has two of them.
    assert "none of 5" in agent_known_defects(image(python="3.14.7"))


@pytest.mark.parametrize(
    "trait", [CONFIGURATION_UPDATE, ALTERNATIVE_NAMES, BRACKETS, LVS_OF_BOTH_FAMILIES]
)
def test_a_defect_that_an_amphora_lives_with_warns(
    image: Callable[..., Subject], trait: Trait
) -> None:
    with pytest.raises(WarningError, match=trait.name):
        agent_known_defects(image(trait))


def test_a_defect_does_not_concern_agents_from_before_it_came(
    image: Callable[..., Subject], tmp_path: Path
) -> None:
    subject = image(LVS_OF_BOTH_FAMILIES)
    subject.distributions["octavia"] = replace(subject.distributions["octavia"], version="10.1.1")
    assert agent_known_defects(subject)


def test_a_mute_agent_fails_on_the_python_that_mutes_it(image: Callable[..., Subject]) -> None:
    with pytest.raises(CheckFailedError, match=r"18\.0\.1 or newer"):
        agent_known_defects(image(FORKED_SENDER, python="3.14.0"))


def test_a_mute_agent_passes_on_an_older_python(image: Callable[..., Subject]) -> None:
    assert agent_known_defects(image(FORKED_SENDER, python="3.13.5"))


def test_without_its_files_an_agent_is_judged_by_its_version(
    image: Callable[..., Subject], tmp_path: Path
) -> None:
    subject = image()
    (tmp_path / f"{amphora_tree.SITE}/octavia/{CONFIGURATION_UPDATE.file}".lstrip("/")).unlink()
    with pytest.raises(WarningError, match=r"octavia 14\.0\.0 has configuration-update"):
        agent_known_defects(subject)


def outcomes(subject: Subject) -> dict[str, Outcome]:
    record = Record()
    judge_agent(EXPECTED, subject, record)
    return {check.name: check.outcome for check in record.checks}


def test_the_agents_files_show_whether_it_has_what_its_control_plane_asks(
    image: Callable[..., Subject],
) -> None:
    assert outcomes(image()) == {
        "agent-release": Outcome.PASSED,
        "agent-has-additional-vips": Outcome.PASSED,
        "agent-has-sr-iov-vip": Outcome.PASSED,
    }


def test_an_agent_without_what_a_load_balancer_uses_fails(image: Callable[..., Subject]) -> None:
    found = outcomes(image(INTERFACE_RULES))
    assert found["agent-has-sr-iov-vip"] is Outcome.FAILED
    assert found["agent-has-additional-vips"] is Outcome.PASSED


@pytest.mark.parametrize(
    ("python", "known", "outcome"),
    [("3.12.3", True, Outcome.PASSED), ("3.13.5", True, Outcome.WARNED), ("3.12.3", False, None),
     ("3.13.5", False, Outcome.WARNED)],
)  # fmt: skip
def test_an_image_that_is_not_booted_is_judged_by_its_python(
    image: Callable[..., Subject], python: str, known: bool, outcome: Outcome | None
) -> None:
    certificates = Certificates(source="octavia.conf is not readable")
    if known:
        certificates = Certificates(
            source="CA ca.pem",
            client=Client(ca=b"", shown=b"", keyless=True),
            judgement=Judgement(lenient=None, strict="no key usage"),
        )
    record = Record()
    expected = Expectation(plane=EXPECTED.plane, certificates=certificates)
    infer_certificates(expected, image(python=python), record)
    assert [(each.name, each.outcome) for each in record.checks] == (
        [] if outcome is None else [(CHECK, outcome)]
    )
    assert not record.failed


OF_AGENT = {"agent-release", "agent-has-additional-vips", "agent-has-sr-iov-vip"}


def request(tmp_path: Path, level: str, *, only: tuple[str, ...] = ()) -> VerifyRequest:
    certificates = Certificates(source="octavia.conf is not readable")
    return VerifyRequest(
        image=tmp_path / "image",
        disk_format="raw",
        settings=VerifySettings.model_validate({"level": level}),
        build=BuildSettings(),
        architecture="x86_64",
        work_dir=tmp_path / "work",
        log_dir=tmp_path / "logs",
        progress=silent,
        only=only,
        control_plane=replace(EXPECTED, certificates=certificates),
    )


@pytest.mark.parametrize(
    ("level", "only", "found"),
    [
        ("offline", (), {*OF_AGENT, CHECK}),
        ("boot", (), OF_AGENT),
        ("boot", ("heartbeat",), set()),
    ],
)  # fmt: skip
def test_files_are_held_against_the_control_plane_as_far_as_no_boot_shows_more(
    image: Callable[..., Subject],
    tmp_path: Path,
    level: str,
    only: tuple[str, ...],
    found: set[str],
) -> None:
    record, asked = Record(), request(tmp_path, level, only=only)
    _judge_files(asked, image(python="3.13.5"), record, time.monotonic() + 60)
    assert {check.name for check in record.checks} == found


def test_files_that_take_all_the_time_are_a_failed_check(
    image: Callable[..., Subject], tmp_path: Path
) -> None:
    record = Record()
    _judge_files(request(tmp_path, "boot"), image(), record, time.monotonic() - 1)
    assert [(check.name, check.outcome) for check in record.checks] == [(FILES, Outcome.FAILED)]
