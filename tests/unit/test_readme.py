"""README is short and true: its links, commands and make targets exist."""

from __future__ import annotations

import re
from pathlib import Path

from click.testing import CliRunner

from tools.programs import contexts

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = {context.command_path: context for context in contexts()}


def test_readme_has_ten_kilobytes_at_most() -> None:
    assert len(README.encode()) <= 10240


def test_every_command_is_in_readme() -> None:
    named = [f"`{path}" for path in COMMANDS if path.startswith("retrofit ")]
    below = [name for name in named if name not in README]
    # `retrofit config` is named by its two commands.
    assert below == []


def test_every_command_that_is_named_exists() -> None:
    named = set(
        re.findall(r"`(retrofit(?:-scheduler)? [a-z-]+(?: (?:init|check|show))?)\b", README)
    )
    assert named
    assert named - COMMANDS.keys() == set()


def test_every_command_has_help() -> None:
    for path, context in COMMANDS.items():
        program, *words = path.split()
        result = CliRunner().invoke(context.find_root().command, [*words, "--help"])
        assert result.exit_code == 0, result.output
        assert len(result.output.splitlines()) > 4, program


def test_every_make_target_that_is_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"(?m)(?:`|^    )make ([a-z-]+)", README))
    assert {"demo", "demo-serial", "demo-down", "test", "docs"} <= named
    for name in named:
        assert re.search(rf"^{name}:", makefile, flags=re.MULTILINE), name


def test_packages_and_example_are_those_of_the_full_instructions() -> None:
    steps = (ROOT / "docs" / "how-to" / "install.md").read_text()
    for pattern in (r"apt-get install [^\n]+", r"series = \[[^\n]+", r"\[cloud\]\n +name = \S+"):
        (brief,) = re.findall(pattern, README)
        (full,) = re.findall(pattern, steps)
        assert brief.split() == full.split()
