"""`retrofit --help` fits into 80 columns, and what was meant is suggested."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from retrofit.cli import retrofit
from retrofit.cli.groups import GROUPS, LONGEST

NAMED = {name: text for commands in GROUPS.values() for name, text in commands.items()}


def test_every_command_is_listed_once_on_a_line_of_its_own() -> None:
    assert NAMED.keys() <= retrofit.commands.keys()
    printed = CliRunner().invoke(retrofit, ["--help"], terminal_width=80).output
    listed = [
        line.split()[0]
        for line in printed.splitlines()
        if line.startswith("  ") and line[2:3].isalpha()
    ]
    for name, command in retrofit.commands.items():
        assert listed.count(name) == (0 if command.hidden else 1), name
    assert "..." not in printed.partition("Look:")[2]


@pytest.mark.parametrize("name", NAMED)
def test_line_of_a_command_is_short(name: str) -> None:
    assert len(NAMED[name]) <= LONGEST - 12
    assert not NAMED[name].endswith(".")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("run", "Did you mean run-once?"),
        ("statsu", "Did you mean status?"),
        ("re", "Did you mean repair or resume or retire?"),
        ("promot", "Did you mean promote?"),
    ],
)
def test_what_was_meant_is_suggested(typed: str, meant: str) -> None:
    refused = CliRunner().invoke(retrofit, [typed])
    assert refused.exit_code == 2
    assert meant in refused.output


def test_nothing_is_suggested_for_what_is_like_nothing() -> None:
    assert "Did you mean" not in CliRunner().invoke(retrofit, ["xyzzy"]).output
