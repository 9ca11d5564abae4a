"""What commands answer, and their JSON out of its envelope."""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
import structlog

from retrofit.cli import main


def answer(text: str) -> Any:
    """Return what a command printed: of one target its document, of several all of them.

    Several are found by any of the names that tests know them by.
    """
    document = json.loads(text)
    if not isinstance(document, dict) or document.keys() != {"schema_version", "targets"}:
        return document
    assert document["schema_version"] == 2
    targets = document["targets"]
    return targets[0] if len(targets) == 1 else dict.fromkeys(("targets", "runs", "plans"), targets)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a command answered, told, and ended with."""

    words: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        """What was printed with `-f json`."""
        return answer(self.stdout)


A = TypeVar("A", bound=Answer)


def typed(config: Path, words: tuple[str, ...], *, exit_code: int | None, kind: type[A]) -> A:
    """Run the command line in this process, at a machine without a terminal.

    What it imports is imported once. `exit_code` is what it has to end with; None where that is the
    caller's to judge.
    """
    stdout, stderr = io.StringIO(), io.StringIO()
    code: Any = None
    with (
        pytest.MonkeyPatch.context() as patched,
        Path(os.devnull).open() as nothing,
        redirect_stdout(stdout),
        redirect_stderr(stderr),
    ):
        patched.setattr(sys, "argv", ["retrofit", "--config", str(config), *words])
        patched.setattr(sys, "stdin", nothing)
        try:
            main()
        except SystemExit as end:
            code = end.code
        finally:
            structlog.reset_defaults()
    answered = kind(
        words=words, exit_code=code or 0, stdout=stdout.getvalue(), stderr=stderr.getvalue()
    )
    assert "Traceback" not in answered.stdout + answered.stderr, answered
    if exit_code is not None:
        assert answered.exit_code == exit_code, answered
    return answered
