"""What a person sees on terminals of 80, 100 and 120 columns: bar and lines apart, ids whole."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

RUN = """
import sys, time
import structlog
from retrofit.console import configure_logging, progress_shown
configure_logging(verbose=False)
log = structlog.get_logger()
with structlog.contextvars.bound_contextvars(run_id="20261126T152703Z-659d57", target="default"):
    with progress_shown() as progress:
        progress("starting", None)
        for number in range(12):
            log.info("step started", step="build")
            log.info("image promoted", image_id="b075958a-0000-4000-8000-000000000000", n=number)
            progress(f"installing packages {number}", number / 12)
            time.sleep(0.05)
    log.error("run ended", outcome="failed", reasons=["forced"], error="E: no such package")
"""
LIST = """
from datetime import UTC, datetime
from retrofit.cli.render import show_history, show_images
from tests.unit.status import scenes
show_images([scenes.older()], "table")
show_history([scenes.report("published")], "table")
"""
ROOT = Path(__file__).resolve().parents[3]


def seen(code: str, columns: int, **environment: str) -> str:
    """Run code on a terminal of this width, and return what it wrote."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    unset = {key: value for key, value in os.environ.items() if key not in {"COLUMNS", "NO_COLOR"}}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=ROOT,
        env={**unset, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **environment},
    )
    os.close(theirs)
    written = b""
    while True:
        try:
            written += os.read(ours, 65536)
        except OSError:  # its last process is gone
            break
    os.close(ours)
    assert process.wait(60) == 0, written.decode()
    return written.decode()


def screen(written: str, columns: int) -> list[str]:
    """Return the lines that stand on a terminal after all that was written."""
    rows: list[list[str]] = [[]]
    row = column = 0
    for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|[^\x1b]", written):
        if token.startswith("\x1b["):
            number = int(re.sub(r"\D", "", token) or 1)
            if token.endswith("A"):
                row = max(row - number, 0)
            elif token.endswith("K"):
                rows[row] = [] if token[2:-1] == "2" else rows[row][:column]
        elif token == "\r":
            column = 0
        elif token == "\n":
            row += 1
        else:
            if column == columns:
                row, column = row + 1, 0
            while len(rows) <= row:
                rows.append([])
            rows[row] += [" "] * (column + 1 - len(rows[row]))
            rows[row][column] = token
            column += 1
        while len(rows) <= row:
            rows.append([])
    return ["".join(cells).rstrip() for cells in rows]


@pytest.mark.parametrize("columns", [80, 100, 120])
def test_log_lines_stand_apart_from_the_bar(columns: int) -> None:
    lines = screen(seen(RUN, columns), columns)
    steps = [line for line in lines if "building the image" in line]
    assert len(steps) == 12
    for line in steps:
        assert re.match(r"\d\d:\d\d:\d\d default building the image;", line), line
    assert not [line for line in lines if "━" in line]  # the bar is gone at the end
    assert not [line for line in lines if "run_id" in line or "reasons" in line]
    (last,) = [line for line in lines if "run ended" in line]
    assert last.endswith("outcome=failed error=E: no such package")


@pytest.mark.parametrize("columns", [80, 100, 120])
def test_ids_are_whole_whatever_the_width(columns: int) -> None:
    from tests.unit.status import scenes

    text = re.sub(r"\x1b\[[0-9;]*m", "", seen(LIST, columns))
    assert scenes.older().id in text
    assert scenes.report("published").run_id in text
    assert max(len(line) for line in text.splitlines()) <= columns
    assert "…" not in text


def test_no_color_means_no_color() -> None:
    """Bold is no color."""
    coloured = r"\x1b\[(?:\d+;)*(?:3|4|9|10)\d(?:;\d+)*m"
    assert re.search(coloured, seen(RUN, 100))
    for code in (RUN, LIST):
        assert not re.search(coloured, seen(code, 100, NO_COLOR="1"))
