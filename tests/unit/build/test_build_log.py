"""From thousands of lines: how far a build is, and the few that say why it failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrofit.build import build_log
from retrofit.build.build_log import PHASES, PhaseReader, failure_lines, redact

CLEAN_UP = """\
2026-11-22 19:11:01.691 | Unmount /w/build/tmp/dib_build.3caNlgY7/mnt/sys
2026-11-22 19:11:01.752 | Unmount /w/build/tmp/dib_build.3caNlgY7/mnt/dev
2026-11-22 19:11:02.323 | INFO diskimage_builder.block_device.blockdevice [-] State already \
cleaned - no way to do anything here
"""


def matter(tmp_path: Path, output: str) -> list[str]:
    log_file = tmp_path / "log"
    lines = "".join(f"2026-11-22 19:11:01.485 | {line}\n" for line in output.splitlines())
    log_file.write_text(lines + CLEAN_UP)
    return failure_lines(log_file)


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("Reading state information...\nE: Unable to locate package foo",
         ["Unable to locate package foo"]),
        ("dpkg: error processing package x (--configure):\n installed x package script failed",
         ["package x: installed x package script failed"]),
        ("cp: error writing '/x': No space left on device\nE: dpkg was interrupted",
         ["cp: error writing '/x': No space left on device"]),
        ("Fine\nerror: Failed to fetch: `https://index/simple/`",
         ["error: Failed to fetch: `https://index/simple/`"]),
        ("/tmp/in_target.d/install.d/50-x: line 3: foo: command not found",
         ["/tmp/in_target.d/install.d/50-x: line 3: foo: command not found"]),
        ("Traceback (most recent call last):\n  File \"x.py\", line 1\nOSError: [Errno 5] broken",
         ["OSError: [Errno 5] broken"]),
        ("diskimage_builder...BlockDeviceSetupException: stock_disk: /boot needs 900 MiB\nE: other",
         ["diskimage_builder...BlockDeviceSetupException: stock_disk: /boot needs 900 MiB"]),
        ("> E: Unable to locate package x\ninstall-packages failed with returncode 100",
         ["Unable to locate package x"]),
        ("\x1b[31merror\x1b[0m: colourful\x07", ["error: colourful"]),
        ("one\ntwo", ["one", "two"]),
    ],
)  # fmt: skip
def test_reason_is_found_before_the_noise_of_the_clean_up(
    tmp_path: Path, output: str, reason: list[str]
) -> None:
    assert matter(tmp_path, output) == reason


def test_the_same_reason_is_told_once_and_many_are_cut(tmp_path: Path) -> None:
    assert matter(tmp_path, "E: same\n" * 50) == ["E: same"]
    many = "".join(f"E: number {number}\n" for number in range(50))
    assert matter(tmp_path, many)[-1] == "E: number 49"
    assert len(matter(tmp_path, many)) <= 10


def test_log_that_is_empty_or_not_text(tmp_path: Path) -> None:
    log_file = tmp_path / "log"
    log_file.write_bytes(b"")
    assert failure_lines(log_file) == []
    log_file.write_bytes(b"\xff\xfe\x00E: broken\n")
    assert failure_lines(log_file)


def test_a_line_without_end_is_searched_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_log, "PIECE", 50)
    log_file = tmp_path / "log"
    address = "https://operator:secret@mirror.example.org/"
    for before in range(60):
        log_file.write_text(f"{'x' * before} {address} {address}\r{address}\r\n{address}")
        redact(log_file)
        masked = address.replace("operator:secret", "***")
        text = f"{'x' * before} {masked} {masked}\r{masked}\r\n{masked}"
        assert log_file.read_bytes() == text.encode()
    log_file.write_text("x" * 1000)
    redact(log_file)
    assert log_file.read_text() == "x" * 1000
    assert "".join(failure_lines(log_file)).strip("x") == ""


def test_phases_are_told_once_each_in_rising_order() -> None:
    told: list[tuple[str, float | None]] = []
    reader = PhaseReader(lambda *what: told.append(what), begin=0.1, end=0.9)
    stamp = "2026-11-22 19:04:16.411 | "
    for line in (
        "Running hooks from /w/tmp/dib_build.x/hooks/root.d",
        "dib-run-parts Running /w/tmp/dib_build.x/hooks/root.d/10-unpack",
        "dib-run-parts Running /tmp/in_target.d/install.d/01-package-installs",
        "dib-run-parts Running /tmp/in_target.d/install.d/50-other",
        "INFO diskimage_builder.block_device.blockdevice [-] create() called",
        "dib-run-parts Running /tmp/in_target.d/finalise.d/99-x",
        "some/package/root.d/file that is only mentioned",
    ):
        reader(stamp + line)
    assert [phrase for phrase, _ in told] == [
        PHASES[phase][0] for phase in ("root", "install", "block-device", "finalise")
    ]
    fractions = [fraction for _, fraction in told]
    assert fractions == sorted(fractions)  # type: ignore[type-var]
    assert all(0.1 <= (fraction or 0) <= 0.9 for fraction in fractions)
    assert reader.script == "finalise.d/99-x"
