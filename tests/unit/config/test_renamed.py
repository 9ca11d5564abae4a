"""A setting's old name is refused with the new one, wherever it may stand."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from retrofit.config.file import Document, load
from retrofit.config.renamed import CHANGES, Change
from retrofit.errors import ConfigError

UPGRADING = Path(__file__).parents[3] / "docs" / "upgrading.md"
SETTINGS = [change for change in CHANGES if change.value is None]
VALUES = [change for change in CHANGES if change.value is not None]


@pytest.fixture(autouse=True)
def no_variables_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith("RETROFIT_")]:
        monkeypatch.delenv(variable)


def refused(tmp_path: Path, text: str) -> str:
    path = tmp_path / "retrofit.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    return caught.value.message


def names(change: Change) -> str:
    return change.setting


@pytest.mark.parametrize("change", SETTINGS, ids=names)
def test_an_old_setting_is_refused_with_what_it_became(tmp_path: Path, change: Change) -> None:
    section, key = change.setting.split(".")
    message = refused(tmp_path, f"[{section}]\n{key} = 1\n")
    assert f"\n  {change.setting}: {change}" in message
    assert change.release in message
    assert str(change.now or change.instead) in message


@pytest.mark.parametrize(
    "change", [each for each in SETTINGS if not each.setting.startswith("notify.")], ids=names
)
def test_so_is_one_of_a_single_target(tmp_path: Path, change: Change) -> None:
    section, key = change.setting.split(".")
    message = refused(tmp_path, f"[target.two.{section}]\n{key} = 1\n")
    assert f"\n  target.two.{change.setting}: {change}" in message


@pytest.mark.parametrize("change", SETTINGS, ids=names)
def test_so_is_a_variable_by_its_own_name(
    tmp_path: Path, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = "RETROFIT_" + change.setting.upper().replace(".", "__")
    monkeypatch.setenv(variable, "1")
    assert f"\n  {variable}: {change}" in refused(tmp_path, "")


def test_so_is_a_variable_of_a_single_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETROFIT_TARGET__TWO__OCTAVIA__ASK", "never")
    message = refused(tmp_path, "")
    assert "\n  RETROFIT_TARGET__TWO__OCTAVIA__ASK: renamed to octavia.query in 0.2.0" in message


@pytest.mark.parametrize("change", VALUES, ids=names)
def test_an_old_value_is_refused_with_the_new_one(
    tmp_path: Path, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    section, key = change.setting.split(".")
    given = json.dumps([change.value])
    wanted = f"{change.setting}.0: {change.value} was renamed to {change.now} in {change.release}"
    assert wanted in refused(tmp_path, f"[{section}]\n{key} = {given}\n")
    monkeypatch.setenv(f"RETROFIT_{section}__{key}".upper(), given)
    assert wanted in refused(tmp_path, "")


def test_the_upgrading_page_lists_the_same() -> None:
    """In the section of its release, and in the order of the table in the code."""
    assert list(documented()) == [
        (f"`{each.setting}`" + (f": `{each.value}`" if each.value else ""), each.now, each.release)
        for each in CHANGES
    ]
    for each in CHANGES:
        assert each.now or f"removed: {each.instead}" in UPGRADING.read_text()


def documented() -> Iterator[tuple[str, str | None, str]]:
    """Yield the rows of the tables of settings: before, after (None: removed), release."""
    release, heading = "", ""
    for line in UPGRADING.read_text().splitlines():
        if line.startswith("## "):
            release = line.rpartition(" to ")[2]
        elif line.startswith("### "):
            heading = line.removeprefix("### ")
        elif heading == "Settings" and line.startswith("| `"):
            before, after = line.strip("| ").split(" | ")
            renamed = re.match(r"`([^`]+)`", after)
            yield before, renamed and renamed[1], release


def test_what_is_written_today_is_not_called_old(tmp_path: Path) -> None:
    path = tmp_path / "retrofit.toml"
    for change in CHANGES:
        if change.now is None or change.value is not None:
            continue
        section, key = change.now.split(".")
        value = Document.model_fields[section].annotation.model_fields[key].default  # type: ignore[union-attr]
        path.write_text(f"[{section}]\n{key} = {json.dumps(value)}\n")
        load(path)
    path.write_text('[notify]\nevents = ["stale"]\n')
    assert load(path).notify.events == ("stale",)
