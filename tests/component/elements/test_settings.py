"""The element that compares what arrived in the chroot with what the build was given."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from retrofit.build.handover import listing
from retrofit.build.recipe import Recipe
from tests.component.elements.element_scripts import ELEMENTS

CARRY = ELEMENTS / "stock-image" / "extra-data.d" / "05-stock-image-settings"
COMPARE = ELEMENTS / "stock-image" / "pre-install.d" / "00-stock-image-settings"
SENT = {
    "DISTRO_NAME": "ubuntu",
    "DIB_RELEASE": "noble",
    "DIB_BLOCK_DEVICE_CONFIG": "- stock_disk:\n    name: image0\n\n",
    "DIB_QUOTED": 'it\'s $HOME `x` \\ "q"',
    "http_proxy": "http://user:s3cret@proxy.example:3128",
    "OWN": "of build.environment",
    "TMPDIR": "/not/compared",
    "DIB_NO_TMPFS": "1",
}
RECIPE = Recipe(wanted=(), elements=(), environment={"OWN": "x"}, inputs={}, output={})


@pytest.fixture
def hooks(tmp_path: Path) -> Path:
    """The directory of hooks as the chroot has it, with the list that was carried there."""
    directory = tmp_path / "in_target.d"
    (directory / "pre-install.d").mkdir(parents=True)
    shutil.copy(COMPARE, directory / "pre-install.d")
    (tmp_path / "settings").write_text(listing(SENT, RECIPE))
    given = {"TMP_HOOKS_PATH": str(directory), "DIB_STOCK_SETTINGS": str(tmp_path / "settings")}
    subprocess.run([CARRY], env={**os.environ, **given}, check=True)
    return directory


def compare(hooks: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [hooks / "pre-install.d" / COMPARE.name],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_all_that_was_sent_may_arrive(hooks: Path) -> None:
    assert compare(hooks, SENT).returncode == 0
    # What disk-image-create decides itself, and where it works, is not compared.
    apart = {**SENT, "TMPDIR": "/elsewhere", "DIB_NO_TMPFS": "", "DIB_NEW": "1"}
    assert compare(hooks, apart).returncode == 0


@pytest.mark.parametrize("name", sorted(SENT.keys() - {"TMPDIR", "DIB_NO_TMPFS"}))
@pytest.mark.parametrize("change", ["missing", "changed"])
def test_one_that_did_not_is_named(hooks: Path, name: str, change: str) -> None:
    arrived = {**SENT, name: SENT[name] + "x"}
    if change == "missing":
        del arrived[name]
    ended = compare(hooks, arrived)
    assert ended.returncode == 1
    assert ended.stderr == f"stock-image: settings did not reach the chroot: {name}\n"
    assert "s3cret" not in ended.stdout + ended.stderr


def test_an_environment_that_was_dropped_is_named_whole(hooks: Path) -> None:
    names = sorted(SENT.keys() - {"TMPDIR", "DIB_NO_TMPFS"})
    assert " ".join(names) in compare(hooks, {}).stderr


def test_no_value_is_in_the_list(hooks: Path) -> None:
    text = (hooks / "stock-image-settings").read_text()
    for value in ("s3cret", "noble", "image0"):
        assert value not in text
    assert listing(SENT, RECIPE) != listing(SENT, RECIPE)  # salted: no dictionary serves twice


def test_an_element_that_is_used_by_itself_compares_nothing(tmp_path: Path) -> None:
    hooks = tmp_path / "in_target.d"
    (hooks / "pre-install.d").mkdir(parents=True)
    shutil.copy(COMPARE, hooks / "pre-install.d")
    subprocess.run([CARRY], env={**os.environ, "TMP_HOOKS_PATH": str(hooks)}, check=True)
    assert compare(hooks, {}).returncode == 0
