"""Juju's four action tools as doubles on PATH, which take what Juju's own take and record it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCRIPT = Path(sys.executable).with_name("retrofit-charm-action")
PATIENCE = 90.0
"""Seconds until a test gives up on an action that does not end."""
# Rules and messages are those of juju/juju, worker/uniter/runner/jujuc/action-*.go.
TOOL = r"""#!/usr/bin/python3 -IS
import json, os, re, sys

tool, words, place = os.path.basename(sys.argv[0]), sys.argv[1:], os.path.dirname(sys.argv[0])

def refuse(message, code=2):
    record("refused", message)
    sys.stderr.write(f"ERROR {message}\n")
    sys.exit(code)

def record(what, value):
    with open(os.path.join(place, "record.jsonl"), "a") as file:
        file.write(json.dumps([what, value]) + "\n")

if not os.environ.get("JUJU_CONTEXT_ID"):
    refuse("JUJU_CONTEXT_ID not set", 1)
if os.path.exists(os.path.join(place, "deaf")):
    refuse("connection is shut down", 1)
form = None
while words and words[0].startswith("-"):
    flag = words.pop(0)
    if flag == "--":
        break
    if tool != "action-get" or not flag.startswith("--format="):
        refuse(f"option provided but not defined: {flag}")
    form = flag.partition("=")[2]
if tool == "action-get":
    if form != "json" or words:
        refuse(f"this test wants all parameters as JSON, not {sys.argv[1:]}")
    with open(os.path.join(place, "parameters.json")) as file:
        sys.stdout.write(file.read())
elif tool == "action-set":
    given = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            refuse(f'argument "{word}" must be of the form key...=value')
        for part in key.split("."):
            if not re.fullmatch("[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", part):
                refuse(f'key "{part}" must start and end with lowercase alphanumeric, and contain'
                       " only lowercase alphanumeric, hyphens and periods")
        if key in ("stdout", "stderr", "return-code"):
            refuse(f"{key} is Juju's own")
        given[key] = value
    record("set", given)
elif tool == "action-fail":
    if len(words) > 1:
        refuse(f"unrecognized args: {words[1:]}")
    record("fail", words[0] if words else "action failed without reason given, check action")
elif tool == "action-log":
    if not words:
        refuse("no message specified")
    record("log", " ".join(words))
"""


@dataclass(frozen=True, kw_only=True)
class Told:
    """What an action told Juju, and how its process ended."""

    results: dict[str, str]
    failed: str | None
    log: list[str]
    refused: list[str]
    exit_code: int | None = None
    stderr: str = ""


@dataclass(kw_only=True)
class JujuTools:
    """A directory with the doubles, to be first on PATH."""

    directory: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Put the doubles in place."""
        self.directory.mkdir()
        for name in ("action-get", "action-set", "action-fail", "action-log"):
            tool = self.directory / name
            tool.write_text(TOOL)
            tool.chmod(0o755)

    def env(self, action: str, parameters: Mapping[str, Any]) -> dict[str, str]:
        """Return the environment that Juju gives an action; what was told before is forgotten."""
        (self.directory / "parameters.json").write_text(json.dumps(dict(parameters)))
        (self.directory / "record.jsonl").unlink(missing_ok=True)
        return {
            **os.environ,
            "PATH": f"{self.directory}:{os.environ['PATH']}",
            "JUJU_CONTEXT_ID": "retrofit/0-run-action-6431",
            "JUJU_UNIT_NAME": "retrofit/0",
            "JUJU_ACTION_NAME": action,
            "JUJU_ACTION_UUID": "42",
            "JUJU_ACTION_TAG": "action-42",
            **self.environment,
        }

    def told(self, exit_code: int | None = None, stderr: str = "") -> Told:
        """Return what was told so far."""
        record = self.directory / "record.jsonl"
        lines = record.read_text().splitlines() if record.exists() else []
        told = [json.loads(line) for line in lines]
        results: dict[str, str] = {}
        for what, value in told:
            if what == "set":
                results.update(value)
        failures = [value for what, value in told if what == "fail"]
        return Told(
            results=results,
            failed=failures[-1] if failures else None,
            log=[value for what, value in told if what == "log"],
            refused=[value for what, value in told if what == "refused"],
            exit_code=exit_code,
            stderr=stderr,
        )

    def run(self, action: str, *command: str | Path, **parameters: Any) -> Told:
        """Run an action as Juju does; parameters are named with underscores for dashes."""
        with self.started(action, *command, **parameters) as process:
            _, stderr = process.communicate(timeout=PATIENCE)
        told = self.told(process.returncode, stderr)
        assert told.refused == []
        return told

    @contextmanager
    def started(
        self, action: str, *command: str | Path, **parameters: Any
    ) -> Iterator[subprocess.Popen[str]]:
        """Start an action, and end it with the block."""
        given = {key.replace("_", "-"): value for key, value in parameters.items()}
        process = subprocess.Popen(
            command or [SCRIPT],
            env=self.env(action, given),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def wait_for(self, what: str) -> None:
        """Wait until a line of action-log holds `what`."""
        deadline = time.monotonic() + PATIENCE
        while not any(what in line for line in self.told().log):
            assert time.monotonic() < deadline, self.told()
            time.sleep(0.05)
