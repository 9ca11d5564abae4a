"""Lines of our own as instants: a clock never hits what takes a microsecond, such as the gap
between a do and the note of its undo.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import retrofit

OURS = f"{Path(retrofit.__file__).parent}{os.sep}"
STDLIB = f"{Path(os.__file__).parent}{os.sep}"
WATCHED = (OURS, subprocess.__file__, tempfile.__file__, shutil.__file__, contextlib.__file__)
"""Beginnings of the files whose lines count: ours, and where for us is begun and undone."""
TIMES = 4
"""Of a line that is come to again and again, so many times are instants."""


@dataclass(frozen=True, kw_only=True)
class Instant:
    """When the main thread comes to a line, this many times before already."""

    file: str
    line: int
    before: int

    def __str__(self) -> str:
        return (
            f"{self.file.removeprefix(OURS).removeprefix(STDLIB)}:{self.line} ({self.before + 1})"
        )


def told(story: Path) -> Callable[[], None]:
    """Return what has a process write down its instants; to be called in it."""

    def put_in() -> None:
        lines = story.open("w")

        def tell(instant: Instant) -> None:
            lines.write(f"{instant.file}\t{instant.line}\t{instant.before}\n")
            lines.flush()

        _trace(tell)

    return put_in


def instants(story: Path) -> list[Instant]:
    """Read what a process wrote down."""
    words = (line.split("\t") for line in story.read_text().splitlines())
    return [Instant(file=file, line=int(line), before=int(before)) for file, line, before in words]


def at(instant: Instant, act: Callable[[], object]) -> Callable[[], None]:
    """Return what has `act` called at an instant of a process; to be called in it."""

    def act_then(reached: Instant) -> None:
        if reached == instant:
            sys.settrace(None)
            act()

    def put_in() -> None:
        _trace(act_then)

    return put_in


def _trace(tell: Callable[[Instant], None]) -> None:
    seen: Counter[tuple[str, int]] = Counter()

    def line(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            place = (frame.f_code.co_filename, frame.f_lineno)
            before = seen[place]
            if before < TIMES:
                seen[place] += 1
                tell(Instant(file=place[0], line=place[1], before=before))
        return line

    def call(frame: FrameType, _event: str, _: Any) -> Any:
        return line if frame.f_code.co_filename.startswith(WATCHED) else None

    sys.settrace(call)
