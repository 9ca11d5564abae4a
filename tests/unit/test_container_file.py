"""The container image and the operations page keep to what is said elsewhere."""

from __future__ import annotations

import re
import shlex

import click
import pytest

from retrofit.cli import retrofit
from scheduler.cli import scheduler
from scheduler.systemd_units import template
from tests.devcloud.places import CHECKOUT
from tests.e2e.operations_page import block_with, blocks, text

CONTAINERFILE = (CHECKOUT / "Containerfile").read_text()


def capabilities() -> set[str]:
    """What the units keep."""
    return set(re.findall(r"CAP_(\w+)", template("sandbox.conf")))


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
def test_commands_of_the_pages_exist(name: str, group: click.Group) -> None:
    """Every `retrofit ...` of the pages is a command that is there, with options that it has."""
    commands = [line.partition(" #")[0].rstrip() for each in blocks() for line in each.splitlines()]
    typed = "\n".join([*re.findall(r"`([^`\n]+)`", text()), *commands])
    pattern = rf"(?:^|[ /]){name} ([a-z][a-z-]*)[ a-z-]*?((?: --[a-z-]+[^\n]*)?)$"
    named = re.findall(pattern, typed, flags=re.MULTILINE)
    assert named
    for command, rest in named:
        assert command in group.commands
        asked = group.commands[command]
        below = asked.commands.values() if isinstance(asked, click.Group) else ()
        params = (each for one in (asked, *below) for each in one.params)
        known = {option for each in params for option in each.opts}
        options = re.findall(r"--[a-z-]+", rest.partition("#")[0])
        assert known >= set(options), command
