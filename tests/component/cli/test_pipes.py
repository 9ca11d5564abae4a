"""A reader that goes away ends a command quietly; one of the log ends nothing at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from retrofit.cli import BROKEN_PIPE
from tests.unit.runs.test_directory import finished

RETROFIT = Path(sys.executable).with_name("retrofit")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The configuration of a machine with a run whose build log fills every pipe."""
    report = finished(tmp_path / "logs", 1, "failed")
    (report.log_dir / "build.log").write_text("a line\n" * 200_000)
    file = tmp_path / "retrofit.toml"
    file.write_text(f'[paths]\nstate = "{tmp_path / "state"}"\nlogs = "{tmp_path / "logs"}"\n')
    return file


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("config", "show"),
        ("config", "show", "-f", "json"),
        ("history",),
        ("history", "-f", "csv"),
        ("logs", "last"),
        ("logs", "--file", "build.log"),
        ("completion", "bash"),
    ],
    ids=" ".join,
)
def test_a_closed_pipe_is_no_error(config: Path, words: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            [RETROFIT, "--config", config, *words],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writing)
    assert (ended.returncode, ended.stderr) == (BROKEN_PIPE, "")


def test_a_reader_that_has_seen_enough_ends_a_long_answer(config: Path) -> None:
    command = f'"{RETROFIT}" --config "{config}" logs --file build.log'
    script = f"{command} | head -n 1; echo ${{PIPESTATUS[0]}}"
    ended = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert (ended.stdout, ended.stderr) == (f"a line\n{BROKEN_PIPE}\n", "")


def test_a_log_that_nobody_reads_any_more_ends_nothing() -> None:
    program = """
import structlog, sys
from retrofit.console import configure_logging
configure_logging(verbose=False)
log = structlog.get_logger()
for number in range(3):
    log.info("event", number=number)
print("done")
"""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            stderr=writing,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writing)
    assert (ended.returncode, ended.stdout) == (0, "done\n")
