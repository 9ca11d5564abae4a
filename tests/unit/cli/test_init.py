"""A first configuration is valid, and nothing is overwritten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from retrofit.cli.root import retrofit
from retrofit.config.file import load
from retrofit.errors import ConfigError


def init(*words: Any) -> Any:
    return CliRunner().invoke(retrofit, ["config", "init", *map(str, words)])


def test_what_is_written_is_valid_and_says_why(tmp_path: Path) -> None:
    file = tmp_path / "etc" / "retrofit.toml"
    done = init("--cloud", "prod", "--series", "noble, jammy", "--tag", "amphora", "--web", file)
    assert done.exit_code == 0, done.output
    settings = load(file)
    (target,) = settings.targets
    assert (target.cloud.name, target.publish.tag) == ("prod", "amphora")
    assert target.source.series == ("noble", "jammy")
    assert settings.web.enabled
    assert file.read_text().count("\n# ") >= 5
    assert file.stat().st_mode & 0o007 == 0


def test_without_a_terminal_the_defaults_hold(tmp_path: Path) -> None:
    file = tmp_path / "retrofit.toml"
    assert init(file).exit_code == 0
    assert load(file).targets[0].publish.tag == "octavia-amphora"


def test_an_existing_file_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "retrofit.toml"
    file.write_text("# mine\n")
    refused = init(file)
    assert isinstance(refused.exception, ConfigError)
    assert file.read_text() == "# mine\n"


@pytest.mark.parametrize("words", [("--series", "nobel"), ("--cloud", 'a"b')])
def test_a_wrong_answer_is_refused_before_anything_is_written(
    words: tuple[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "retrofit.toml"
    refused = init(*words, file)
    assert isinstance(refused.exception, ConfigError)
    assert not file.exists()
