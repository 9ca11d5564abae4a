"""The container image and the operations page keep to what is said elsewhere."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from scheduler.units import template
from tests.devcloud.places import CHECKOUT
from tests.e2e.operations_page import block_with, blocks

CONTAINERFILE = (CHECKOUT / "Containerfile").read_text()


def capabilities() -> set[str]:
    """What the units keep."""
    return set(re.findall(r"CAP_(\w+)", template("sandbox.conf")))


def test_image_has_the_debian_packages_that_runs_need() -> None:
    (program,) = re.findall(r"\$\(awk '([^']+)' /tmp/bindep.txt\)", CONTAINERFILE)
    taken = subprocess.run(
        ["awk", program, CHECKOUT / "bindep.txt"], capture_output=True, text=True, check=True
    ).stdout.split()
    bindep = [Path(sys.executable).with_name("bindep"), "--list_all", "newline"]
    wanted = subprocess.run(
        bindep, cwd=CHECKOUT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert "qemu-utils" in taken
    assert sorted(taken) == sorted(wanted)


def test_everything_that_is_copied_is_there_and_not_ignored() -> None:
    admitted = {
        line.removeprefix("!")
        for line in (CHECKOUT / ".containerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = {
        word
        for line in re.findall(r"^COPY (?!--from)(.+)$", CONTAINERFILE, flags=re.MULTILINE)
        for word in line.split()[:-1]
    }
    assert copied == admitted
    assert all((CHECKOUT / each).exists() for each in copied)


def test_container_gets_the_capabilities_of_the_units() -> None:
    words = shlex.split(block_with("podman run"))
    given = [words[index + 1] for index, word in enumerate(words) if word == "--cap-add"]
    assert set(",".join(given).split(",")) == capabilities()
    assert "--privileged" not in words


@pytest.mark.parametrize("ours", ["retrofit", "retrofit-scheduler"])
def test_commands_of_the_page_exist(ours: str) -> None:
    """Every `retrofit ...` of the page is a command that is there, with options that it has."""
    page = "\n".join([*re.findall(r"`([^`]+)`", _page()), *(each for each in blocks())])
    pattern = rf"(?:^|[ /]){ours} ((?:[a-z][a-z-]* ?)+)((?:--[a-z-]+[^\n]*)?)"
    named = {
        (words.split()[0], tuple(re.findall(r"--[a-z-]+", options)))
        for words, options in re.findall(pattern, page, flags=re.MULTILINE)
    }
    assert named
    for command, options in named:
        said = subprocess.run(
            [Path(sys.executable).with_name(ours), command, "--help"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert said.returncode == 0, command
        for option in options:
            assert option in said.stdout, f"{command} {option}"


def _page() -> str:
    return (CHECKOUT / "docs" / "operations.md").read_text()
