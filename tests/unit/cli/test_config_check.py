"""`config check` does not call valid what nothing can run with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from retrofit.cli import retrofit


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable and no file of the person who runs the tests."""
    for name in list(os.environ):
        if name.startswith(("OS_", "RETROFIT_")):
            monkeypatch.delenv(name)
    monkeypatch.setattr("retrofit.config.file.DEFAULT_FILE", tmp_path / "none.toml")


def check(tmp_path: Path, text: str | None, *, clouds: str = "clouds: {}") -> Result:
    (tmp_path / "clouds.yaml").write_text(clouds)
    (tmp_path / "clouds.yaml").chmod(0o600)
    words = ["config", "check"]
    if text is not None:
        file = tmp_path / "retrofit.toml"
        file.write_text(text.format(clouds=tmp_path / "clouds.yaml", root=tmp_path))
        words = ["--config", str(file), *words]
    return CliRunner().invoke(retrofit, words, catch_exceptions=False)


PATHS = "[paths]\n" + "".join(
    f'{name} = "{{root}}/{name}"\n' for name in ("state", "cache", "work", "logs")
)


@pytest.mark.parametrize("name", ["dmeo", "demmo"])
def test_a_cloud_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    text = f'[cloud]\nname = "{name}"\nclouds_yaml = "{{clouds}}"\n{PATHS}'
    checked = check(tmp_path, text)
    assert checked.exit_code == 0  # credentials may come after the configuration
    assert f"Cloud {name} was not found" in checked.stderr
    assert "hint: set cloud.name" in checked.stderr
    assert "valid, and no run can use it yet" in checked.stdout


def test_one_that_is_there_is_no_matter(tmp_path: Path) -> None:
    clouds = "clouds: {demo: {auth: {auth_url: 'http://127.0.0.1:9/v3', username: u}}}"
    text = f'[cloud]\nname = "demo"\nclouds_yaml = "{{clouds}}"\n{PATHS}'
    checked = check(tmp_path, text, clouds=clouds)
    assert (checked.stdout, checked.stderr) == (
        "the configuration is valid; targets: default\n",
        "",
    )


def test_without_a_file_it_is_told(tmp_path: Path) -> None:
    checked = check(tmp_path, None)
    assert "no configuration file was read" in checked.stderr
    assert "`retrofit config init` writes one" in checked.stderr
