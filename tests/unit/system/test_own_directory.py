"""Only a directory with our marker is ours, and only an empty one, or 0.1.0's, gets it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from retrofit.errors import ConfigError
from retrofit.system.own_directory import MARKER, Purpose, check, claim, directory_id, is_own

PURPOSES: tuple[Purpose, ...] = ("state", "work", "logs", "cache")


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_new_directory_gets_a_marker_and_keeps_its_id(purpose: Purpose, tmp_path: Path) -> None:
    path = tmp_path / "new" / purpose
    first = claim(path, purpose)
    (path / "anything").write_text("")  # from now on it is ours, whatever is in it
    assert claim(path, purpose) == first == directory_id(path, purpose)
    record = json.loads((path / MARKER).read_text())
    assert (record["purpose"], record["version"]) == (purpose, 1)
    assert set(record) == {"id", "purpose", "made_at", "version"}
    assert [each.name for each in path.iterdir() if each.name.startswith(".")] == [MARKER]


def test_two_directories_have_two_ids(tmp_path: Path) -> None:
    assert claim(tmp_path / "a", "state") != claim(tmp_path / "b", "state")


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize(
    "foreign",
    [
        "invoices/2026.pdf",
        ".history.1",
        "20261101T0300Z-database/dump",
        "noble/ubuntu-mirror/dists",
    ],
)
def test_a_directory_of_others_is_refused_and_left(
    purpose: Purpose, foreign: str, tmp_path: Path
) -> None:
    (tmp_path / foreign).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / foreign).write_text("not ours")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError) as refused:
        claim(tmp_path, purpose)
    assert foreign.partition("/")[0] in refused.value.message
    assert f"paths.{purpose}" in refused.value.message
    assert MARKER in str(refused.value.hint)
    with pytest.raises(ConfigError):
        check(tmp_path, purpose)
    assert sorted(tmp_path.rglob("*")) == before
    assert not is_own(tmp_path, purpose)


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_volume_of_a_container_may_be_new(purpose: Purpose, tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    assert claim(tmp_path, purpose)


def test_what_systemd_made_before_the_first_run_is_known(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    assert claim(tmp_path, "state")


def _state(path: Path) -> None:
    (path / "targets" / "default").mkdir(parents=True)
    (path / "locks").mkdir()
    (path / "work" / "default").mkdir(parents=True)
    for name in ("worker.lock", "worker.toml", "schedule.json", "outbox.next", "outbox.lock"):
        (path / name).write_text("")
    (path / ".schedule.json.4711").write_text("")  # half written by a dead worker


def _work(path: Path) -> None:
    run = path / "default" / "20261101T031500Z-0a1b2c"
    run.mkdir(parents=True)
    (run / ".lock").write_text("")
    (path / "default" / ".retrofit-new-abc").mkdir()
    (path / "files").mkdir()
    (path / ".shelf" / "4711-abc").mkdir(parents=True)


def _logs(path: Path) -> None:
    (path / "20261101T031500Z-0a1b2c").mkdir()
    (path / "verify-20261101T031500Z-0a1b2c").mkdir()


def _cache(path: Path) -> None:
    (path / "packages").mkdir()
    (path / "sources").mkdir()


@pytest.mark.parametrize(
    ("purpose", "leave"),
    [("state", _state), ("work", _work), ("logs", _logs), ("cache", _cache)],
)
def test_what_0_1_0_left_is_taken_over(
    purpose: Purpose, leave: Callable[[Path], None], tmp_path: Path
) -> None:
    leave(tmp_path)
    check(tmp_path, purpose)
    assert claim(tmp_path, purpose)


@pytest.mark.parametrize("entry", ["targets", "packages", "default", "20261101T031500Z-0a1b2c"])
@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_link_with_a_known_name_proves_nothing(
    purpose: Purpose, entry: str, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / entry).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError):
        claim(tmp_path / "own", purpose)


def test_an_empty_marker_is_a_persons_word(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("")
    (tmp_path / MARKER).write_text("")
    assert not is_own(tmp_path, "logs")  # nothing is deleted before it is claimed
    assert claim(tmp_path, "logs") == directory_id(tmp_path, "logs")


def test_a_directory_has_one_purpose(tmp_path: Path) -> None:
    claim(tmp_path, "cache")
    with pytest.raises(ConfigError, match=r"paths\.cache.*not as paths\.work"):
        claim(tmp_path, "work")


@pytest.mark.parametrize("content", ["{", "[]", '{"id": 4, "purpose": "logs"}', "x" * 100_000])
def test_a_damaged_marker_is_no_proof(content: str, tmp_path: Path) -> None:
    (tmp_path / MARKER).write_text(content)
    with pytest.raises(ConfigError, match="not a marker"):
        claim(tmp_path, "logs")
    assert not is_own(tmp_path, "logs")


def test_a_marker_is_no_link_and_no_directory(tmp_path: Path) -> None:
    claim(tmp_path / "ours", "logs")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / MARKER).symlink_to(tmp_path / "ours" / MARKER)
    (tmp_path / "deep" / MARKER).mkdir(parents=True)
    for name in ("linked", "deep"):
        with pytest.raises(ConfigError, match="not a marker"):
            claim(tmp_path / name, "logs")


def test_a_directory_that_is_not_there_passes_the_check_and_is_not_made(tmp_path: Path) -> None:
    check(tmp_path / "none", "state")
    assert directory_id(tmp_path / "none", "state") is None
    assert not (tmp_path / "none").exists()
