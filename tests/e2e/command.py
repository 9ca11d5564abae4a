"""The command line as an operator has it: a program of its own, that builds for real."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.answers import answer

RETROFIT = Path(sys.executable).with_name("retrofit")
RUN_SECONDS = 3600


def given(config: Path, *words: str) -> tuple[int, Any, str]:
    """Run a command: exit code, answer, story."""
    finished = subprocess.run(
        [RETROFIT, "--config", config, *words, "-o", "json"],
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return finished.returncode, answer(finished.stdout or "null"), finished.stderr
