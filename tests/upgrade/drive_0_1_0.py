"""Run by the Python of release 0.1.0: its command line, with the fakes of its own tests.

`retrofit`, `scheduler` and `tests` are those of 0.1.0 in here. The only argument is the path of the
configuration. Each line of stdin is a command as JSON: its `words` and, where wanted, `build_error`
(why its build fails) or `dies_after` (writes to Glance, after which the process is gone). Each line
of stdout is an answer.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from retrofit import __version__, pipeline
from retrofit.cli import main
from retrofit.cloud import Glance
from retrofit.errors import BuildError
from tests.devcloud.files import make_tiny
from tests.integration.workshop import Workshop

assert __version__ == "0.1.0"
RUN_TARGETS = pipeline.run_targets
WRITES = ("create", "upload", "tag", "untag", "update", "delete")


def answer(config: str, command: dict[str, Any]) -> dict[str, Any]:
    """Give one command, and return what it printed and how it ended."""
    workshop = Workshop(lambda path: make_tiny(path, mark=str(path)))
    if "build_error" in command:
        workshop.build_error = BuildError(command["build_error"])
    pipeline.run_targets = partial(RUN_TARGETS, build=workshop.build, verify=workshop.verify)
    if "dies_after" in command:
        die_after(command["dies_after"])
    sys.argv = ["retrofit", "--config", config, *command["words"]]
    stdout, stderr, code = io.StringIO(), io.StringIO(), None
    with redirect_stdout(stdout), redirect_stderr(stderr):
        try:
            main()
        except SystemExit as end:
            code = end.code
        finally:
            structlog.reset_defaults()
    return {
        "exit_code": code or 0,
        "stdout": stdout.getvalue(),
        "stderr": stderr.getvalue(),
        "builds": len(workshop.built),
    }


def die_after(writes: int) -> None:
    """End this process at the write to Glance after so many, as a power cut does."""
    left = writes

    def dying(write: Callable[..., Any]) -> Callable[..., Any]:
        def act(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            if left == 0:
                os._exit(137)
            left -= 1
            return write(*args, **kwargs)

        return act

    for name in WRITES:
        setattr(Glance, name, dying(getattr(Glance, name)))


config, commands = sys.argv[1], sys.stdin
with Path(os.devnull).open() as nothing:
    sys.stdin = nothing
    for line in commands:
        print(json.dumps(answer(config, json.loads(line))), flush=True)
