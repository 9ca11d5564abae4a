"""What somebody else put into our directories survives every command, whatever it is called."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch

import pytest

from retrofit.operations import verify_image
from retrofit.system.own_directory import MARKER
from tests.integration.harness import CloudHarness

NAMES = ("state", "work", "logs", "cache")
RUN = "20261101T031500Z-0a1b2c"
FOREIGN: Mapping[str, str] = {
    "invoices/2026.pdf": "paid",
    "notes.txt": "mine",
    ".history.1": "mine",
    ".bashrc.20": "mine",
    "noble/ubuntu-mirror/dists/Release": "400 GiB",
    "default/ubuntu-mirror/Release": "400 GiB",
    "files/invoices/2026.pdf": "paid",
    f"files/{RUN}/kept": "no lock",
    f"default/{RUN}/kept": "no lock",
    ".shared-builds/invoices/kept": "no lock",
    ".shared-builds/4711-abcdefgh/kept": "no lock",
    ".shelf/4711-abcdefgh/kept": "no lock",
    "20261101T0300Z-database/dump": "a backup",
    "20251101T030000Z-database/dump": "a backup",
    f"{RUN}/dump": "a backup, named as a run is",
    f"verify-{RUN}/dump": "a backup",
    "packages/ubuntu-noble-amd64/notes.deb": "no name of a package",
    "packages/mine/kept": "mine",
    "sources/0123456789abcdef": "no digest",
    "sources/abc.part": "no digest",
    "targets/default/.notes.json.1": "mine",
    "targets/somebody/else": "mine",
}
"""Names that are ours but for a detail, in each of the directories."""
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("plan",), ("run-once",), ("run-once", "--force"), ("status",), ("list",), ("history",),
    ("logs", "last"), ("config", "check"), ("config", "show"), ("audit",), ("retire",),
    ("pause", "--reason", "x"), ("run-once",), ("resume",), ("notify",), ("rollback",),
    ("run-once",),
)  # fmt: skip


def plant(directory: Path) -> None:
    for name, text in FOREIGN.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
        os.utime(directory / name, (1, 1))


def foreign(directory: Path) -> dict[str, tuple[str, int, float]]:
    """Content, mode and time of what was planted, as far as it is there."""
    found = {}
    for name in FOREIGN:
        path = directory / name
        if path.is_file():
            facts = path.stat()
            found[name] = (path.read_text(), facts.st_mode, facts.st_mtime)
    return found


def tree(directory: Path) -> dict[str, str | None]:
    return {
        str(path.relative_to(directory)): path.read_text() if path.is_file() else None
        for path in sorted(directory.rglob("*"))
    }


def commands(harness: CloudHarness) -> None:
    harness.toml = "[publish]\nretire_after = 0\nretire_after_unknown = 0\n"
    for number, words in enumerate(COMMANDS):
        if words[0] == "run-once":
            harness.source(f"202609{10 + number}")
        harness.retrofit(*words, exit_code=None)


@pytest.mark.slow
def test_in_directories_of_ours(harness: CloudHarness) -> None:
    harness.source("20260901")
    harness.act("run-once")  # from now on they have markers
    for name in NAMES:
        assert (harness.path(name) / MARKER).is_file() or name == "cache"
        plant(harness.path(name))
    before = {name: foreign(harness.path(name)) for name in NAMES}
    assert all(len(each) == len(FOREIGN) for each in before.values())
    commands(harness)
    assert {name: foreign(harness.path(name)) for name in NAMES} == before


@pytest.mark.parametrize("name", NAMES)
def test_in_a_directory_of_theirs(harness: CloudHarness, name: str) -> None:
    """Nothing is written there, neither, and the message names the directory."""
    plant(harness.path(name))
    before = tree(harness.path(name))
    harness.source("20260901")
    answer = harness.retrofit("run-once", exit_code=2)
    assert f"paths.{name} is {harness.path(name)}" in answer.stderr + answer.stdout
    check = harness.retrofit("config", "check", exit_code=2)
    assert f"paths.{name}" in check.stderr
    commands(harness)
    assert tree(harness.path(name)) == before
    assert not harness.tagged()  # nothing was begun that could not be ended


def test_read_only_commands_make_no_directory(harness: CloudHarness) -> None:
    harness.source("20260901")
    for words in (("plan",), ("status",), ("list",), ("history",), ("config", "check"), ("audit",)):
        harness.retrofit(*words, exit_code=None)
    assert [name for name in NAMES if harness.path(name).exists()] == []


def test_records_are_for_their_owner(harness: CloudHarness) -> None:
    before = os.umask(0o022)
    try:
        harness.source("20260901")
        harness.act("run-once")
        assert os.umask(0o022) == 0o022  # of the process, and left as it was
    finally:
        os.umask(before)
    files = [path for name in ("state", "logs") for path in harness.path(name).rglob("*.json*")]
    assert files
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in files} == {
        path.name: "0o600" for path in files
    }


def test_a_verification_by_hand_refuses_a_directory_of_others(harness: CloudHarness) -> None:
    plant(harness.path("work"))
    before = tree(harness.path("work"))
    image = harness.make_image("given.qcow2")
    with patch.object(verify_image, "verify"):
        harness.retrofit("verify", str(image), exit_code=2)
    assert tree(harness.path("work")) == before
