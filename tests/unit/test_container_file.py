"""The container image and the operations page keep to what is said elsewhere."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from retrofit.cli import retrofit
from scheduler.cli import scheduler
from scheduler.units import template
from tests.devcloud.places import CHECKOUT
from tests.e2e.operations_page import PAGE, block_with, blocks

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


@pytest.mark.parametrize(
    ("name", "group"), [("retrofit", retrofit), ("retrofit-scheduler", scheduler)]
)
def test_commands_of_the_page_exist(name: str, group: click.Group) -> None:
    """Every `retrofit ...` of the page is a command that is there, with options that it has."""
    page = PAGE.read_text()
    typed = "\n".join([*re.findall(r"`([^`]+)`", page), *blocks()])
    pattern = rf"(?:^|[ /]){name} ([a-z][a-z-]*)[ a-z-]*?((?: --[a-z-]+[^\n]*)?)$"
    named = re.findall(pattern, typed, flags=re.MULTILINE)
    assert named
    for command, rest in named:
        assert command in group.commands
        known = {option for each in group.commands[command].params for option in each.opts}
        options = re.findall(r"--[a-z-]+", rest.partition("#")[0])
        assert known >= set(options), command
