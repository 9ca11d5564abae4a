"""README is true: what it says of settings, commands and exit codes is what the code has."""

from __future__ import annotations

import re
from pathlib import Path

from click.testing import CliRunner

from retrofit import errors
from retrofit.cli import retrofit
from tests.settings_table import table

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def test_settings_table_is_that_of_the_code() -> None:
    assert table() in README, "run `python -m tests.settings_table`"


def test_every_command_is_described() -> None:
    for name in retrofit.commands:
        assert f"retrofit {name}" in README, name


def test_every_command_has_help() -> None:
    for name in retrofit.commands:
        result = CliRunner().invoke(retrofit, [name, "--help"])
        assert result.exit_code == 0, result.output
        assert len(result.output.splitlines()) > 4


def test_exit_codes_are_those_of_the_errors() -> None:
    family = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.RetrofitError)
    ]
    documented = set(map(int, re.findall(r"^\| (\d+) \| ", README, flags=re.MULTILINE)))
    assert documented == {0, *(kind.exit_code for kind in family)}


def test_every_make_target_that_is_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for name in re.findall(r"`make ([a-z-]+)", README):
        assert re.search(rf"^{name}:", makefile, flags=re.MULTILINE), name
