"""Every command that a hint, a warning, a runbook or a page names exists, with its options."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from retrofit.config import Settings, Target
from tests.unit.named_commands import commands_in, missing, wrong
from tests.unit.test_plain_english import READS_OLD_NAMES, ROOT, TEXTS

WITHOUT_TARGET = {"run-once", "repair", "pause", "resume", "cancel", "rollback", "retire"}
"""Commands that act on all targets, or refuse to choose one, where none is named."""
FILES = r"(?![./(])(?<!\.conf)(?<!\.toml)(?<!\.log)(?<!\.json)(?<!\.raw)(?<!\.lock)"


def found() -> dict[str, set[str]]:
    """Return each named command with the places that name it."""
    places: dict[str, set[str]] = {}
    for name, written in TEXTS:
        # A comment of the rules describes; it is not shown with an alert.
        text = re.sub(r"(?m)^#.*", "", written) if name.endswith(".yml") else written
        is_page = not name.endswith((".py", ".yaml")) and not name.startswith("CHANGELOG")
        for command in commands_in(text, is_page=is_page):
            places.setdefault(command, set()).add(name)
    return places


FOUND = found()


def test_commands_are_found_in_every_kind_of_text() -> None:
    named = {command.split()[1] for command in FOUND}
    assert {"promote", "repair", "cancel", "resume", "run-once", "adopt", "--target"} <= named
    rooms = {Path(place).parts[0] for places in FOUND.values() for place in places}
    assert {"retrofit", "scheduler", "monitoring", "docs", "README.md"} <= rooms


@pytest.mark.parametrize("command", sorted(FOUND))
def test_command_exists(command: str) -> None:
    assert wrong(command) is None, sorted(FOUND[command])


def messages() -> list[str]:
    """Return the commands in what the program prints, logs and records.

    Not in help texts and units, which describe what a command does.
    """
    rooms = ("retrofit/", "scheduler/", "monitoring/")
    described = ("retrofit/cli/", "scheduler/systemd", "scheduler/install.py")
    printed = {
        command
        for command, places in FOUND.items()
        for place in places
        if place.startswith(rooms) and not place.startswith(described)
    }
    return sorted(printed)


@pytest.mark.parametrize("command", messages())
def test_a_command_in_a_message_can_be_typed_as_it_stands(command: str) -> None:
    """It has all that it needs, and acts on the target of the message alone."""
    assert missing(command) == []
    assert "--target" in command.split() or not WITHOUT_TARGET.intersection(command.split())


@pytest.mark.parametrize(
    "command",
    [
        "retrofit promot ID",
        "retrofit promote ID --force",
        "retrofit promote ID ANOTHER",
        "retrofit list -f xml",
        "retrofit cancel --wait soon",
        "retrofit config chekc",
        "retrofit-scheduler install --cron",
    ],
)
def test_a_wrong_command_is_noticed(command: str) -> None:
    assert wrong(command) is not None


def test_settings_that_texts_of_the_program_name_exist() -> None:
    sections = {
        name: set(getattr(field.annotation, "model_fields", {}))
        for model in (Settings, Target)
        for name, field in model.model_fields.items()
    }
    pattern = re.compile(r"(?<![\w./{-])(" + "|".join(sections) + r")\.([a-z_0-9]+)\b" + FILES)
    unknown = {
        (name, match[0])
        for name, text in TEXTS
        if name.endswith(".py") and name.startswith(("retrofit/", "scheduler/"))
        if name not in READS_OLD_NAMES and "0.1.0" not in text
        for match in pattern.finditer(text)
        if sections[match[1]] and match[2] not in sections[match[1]]
    }
    assert unknown == set()


def test_pages_that_texts_of_the_program_name_exist() -> None:
    named = {
        (name, page)
        for name, text in TEXTS
        if name.endswith(".py") and not name.startswith("tests/")
        for page in re.findall(r"\bdocs/[\w/-]+\.md", text)
    }
    assert named
    assert [each for each in named if not (ROOT / each[1]).is_file()] == []
