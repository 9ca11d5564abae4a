"""Settings of `[octavia]`."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrofit.config.file import parse
from retrofit.errors import ConfigError

PATH = Path("retrofit.toml")


@pytest.mark.parametrize("release", ["2025.1", "16.0.1"])
def test_a_release_is_a_name_or_a_version(release: str) -> None:
    settings = parse(f'[octavia]\nrelease = "{release}"\n'.encode(), PATH)
    assert settings.targets[0].octavia.release == release


@pytest.mark.parametrize("release", ["epoxy", "2025.3", "16"])
def test_another_word_for_a_release_is_refused(release: str) -> None:
    with pytest.raises(ConfigError, match=r"octavia\.release"):
        parse(f'[octavia]\nrelease = "{release}"\n'.encode(), PATH)


def test_a_guard_has_a_setting_of_its_own_in_each_target() -> None:
    text = b"""
[octavia.compatibility]
language = "warn"
[target.a]
octavia.compatibility.language = "ignore"
publish.tag = "of-a"
[target.b]
"""
    settings = parse(text, PATH)
    assert [each.octavia.compatibility.language for each in settings.targets] == ["ignore", "warn"]
