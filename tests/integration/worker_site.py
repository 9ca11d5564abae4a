"""A worker as its own process, with runs in which only disk-image-create and QEMU are fakes.

As a program: `python -m tests.integration.worker_site worker CONFIG` is the worker, and its runs
are `python -m tests.integration.worker_site --config ... run-once ...`: the real command line, with
a builder that calls a recording fake of disk-image-create and a verifier that believes it.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.configuration import toml

if TYPE_CHECKING:
    from retrofit.build.request import BuildRequest
    from retrofit.model import BuiltImage, Verdict
    from retrofit.verify.request import VerifyRequest

CHECKOUT = Path(__file__).resolve().parents[2]
PATIENCE = 90.0
"""Seconds until a test gives up on an event that does not come."""
FAKE_BUILD = """#!/bin/bash
# Records when it began and how it ended; works while the file `gate` exists, or for $BUILD_SECONDS.
say() { echo "$1 $MACHINE $$ ${EPOCHREALTIME}" >> "$BUILDS/record"; }
mounted="$1/mounted"
trap 'rm "$mounted"; say cleaned; exit 143' TERM
say begun
touch "$mounted"
end=$((SECONDS + ${BUILD_SECONDS:-0}))
while [ -e "$BUILDS/gate" ] || [ "$SECONDS" -lt "$end" ]; do sleep 0.1; done
rm "$mounted"
say ended
"""


@dataclass(kw_only=True)
class Site:
    """One machine with a worker: its configuration, its directories, what its builds record."""

    root: Path
    config: dict[str, dict[str, Any]]
    builds: Path
    """Shared by machines that are to be seen together."""
    environment: dict[str, str] = field(default_factory=dict)
    command: tuple[str | Path, ...] = (sys.executable, "-m", __name__, "worker")
    """What is started, with the configuration file as its last argument."""
    patience: float = PATIENCE

    def __post_init__(self) -> None:
        """Make the directories, and the configuration file."""
        self.root.mkdir(exist_ok=True)
        self.builds.mkdir(exist_ok=True)
        self.write()

    @property
    def config_file(self) -> Path:
        """The configuration file."""
        return self.root / "retrofit.toml"

    @property
    def gate(self) -> Path:
        """While this file exists, builds go on."""
        return self.builds / "gate"

    @property
    def work(self) -> Path:
        """Where builds work."""
        return self.root / "work"

    def write(self, **sections: dict[str, Any]) -> None:
        """Write the configuration, with some sections replaced."""
        paths = {key: self.root / key for key in ("state", "cache", "work", "logs")}
        self.config_file.write_text(toml({"paths": paths, **self.config, **sections}))

    def timetable(self) -> dict[str, Any]:
        """What the worker wrote down for other commands."""
        return dict(json.loads((self.root / "state" / "schedule.json").read_text()))

    def reports(self) -> list[dict[str, Any]]:
        """The reports of the runs, the oldest first."""
        found = sorted((self.root / "logs").glob("*/report.json"))
        return [json.loads(path.read_text()) for path in found]

    def record(self) -> list[str]:
        """What builds did where and when, in order."""
        record = self.builds / "record"
        return record.read_text().splitlines() if record.exists() else []

    def say(self, what: str) -> None:
        """Add to the record what this machine could not."""
        with (self.builds / "record").open("a") as record:
            record.write(f"{what} {self.root.name} - {time.time()}\n")

    def recorded(self) -> list[str]:
        """What builds did, in order: begun, ended, cleaned."""
        return [entry.split()[0] for entry in self.record()]

    @contextmanager
    def worker(self) -> Iterator[RunningWorker]:
        """Run the worker until the block ends, or something in it ends it."""
        log = self.root / "worker.log"
        with log.open("ab") as stderr:
            begin = stderr.tell()
            process = subprocess.Popen(
                [*self.command, self.config_file],
                env={
                    **os.environ,
                    "BUILDS": str(self.builds),
                    "MACHINE": self.root.name,
                    **self.environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                cwd=CHECKOUT,
            )
        running = RunningWorker(process=process, log=log, begin=begin, patience=self.patience)
        try:
            running.wait_for("worker started")
            yield running
        finally:
            running.end()


@dataclass(kw_only=True)
class RunningWorker:
    """A worker that was started."""

    process: subprocess.Popen[bytes]
    log: Path
    begin: int
    patience: float = PATIENCE

    def events(self) -> list[dict[str, Any]]:
        """What it and its runs have said on stderr: nothing but JSON lines."""
        lines = self.log.read_bytes()[self.begin :].splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith(b"\n")]

    def wait_for(self, event: str, count: int = 1, **facts: Any) -> dict[str, Any]:
        """Wait until an event with these facts was said `count` times, and return the last one."""

        def said() -> dict[str, Any] | None:
            found = [
                each for each in self.events() if {"event": event, **facts}.items() <= each.items()
            ]
            return found[count - 1] if len(found) >= count else None

        return eventually(said, f"{event} {facts}", self.log, within=self.patience)

    def ended_runs(self) -> list[dict[str, Any]]:
        """The ends of runs that it told."""
        return [event for event in self.events() if event["event"] == "run-once ended"]

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def end_by(self, number: signal.Signals) -> int:
        """Send it a signal and return its exit code."""
        self.send(number)
        return self.process.wait(PATIENCE)

    def run_pid(self) -> int:
        """The process of the run that was started last."""
        return int(self.wait_for("run-once started")["pid"])

    def power_off(self) -> None:
        """End it and its runs as a machine ends that loses its power: none of them sees the end."""
        tree = [self.process.pid, *_below(self.process.pid)]
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in tree:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
        self.process.wait(PATIENCE)

    def end(self) -> None:
        """End it however it takes; its runs hear of it."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def _below(pid: int) -> list[int]:
    """List the descendants of a process."""
    found = []
    for child in subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split():
        found += [int(child), *_below(int(child))]
    return found


def eventually(
    ask: Callable[[], Any], what: str, log: Path | None = None, *, within: float = PATIENCE
) -> Any:
    """Ask until the answer is true, and return it."""
    deadline = time.monotonic() + within
    while not (answer := ask()):
        if time.monotonic() > deadline:
            said = log.read_text()[-4000:] if log else ""
            raise AssertionError(f"this never came: {what}\n{said}")
        time.sleep(0.05)
    return answer


def _build(request: BuildRequest) -> BuiltImage:
    from retrofit.errors import BuildError
    from retrofit.system import logged_process, process
    from tests.built import built_image
    from tests.devcloud.files import make_tiny

    work = request.work_dir
    work.mkdir(parents=True)
    script = work / "disk-image-create"
    script.write_text(FAKE_BUILD)
    script.chmod(0o755)
    try:
        logged_process.run_logged(
            [script, work], log_file=request.log_file, timeout=600, env=dict(os.environ)
        )
    except process.CommandError as error:
        raise BuildError(error.message) from error
    path = make_tiny(work / "amphora.qcow2", mark=str(work))
    return built_image(path, virtual_size=8 << 20, min_disk=1)


def _verify(_request: VerifyRequest) -> Verdict:
    from tests.built import verdict_at

    return verdict_at("full")


def main() -> None:
    """Be the worker, or one of its runs."""
    if sys.argv[1] == "worker":
        from retrofit.console import configure_logging
        from scheduler.sd_notify import Notifier
        from scheduler.worker import Worker

        configure_logging(verbose=False)
        command = (sys.executable, "-m", "tests.integration.worker_site")
        notifier = Notifier.from_environment()
        sys.exit(Worker(Path(sys.argv[2]), notifier=notifier, command=command).run())
    from retrofit import cli
    from retrofit.operations import run

    doubles = functools.partial(run.run_targets, build=_build, verify=_verify)
    run.run_targets = doubles  # type: ignore[attr-defined]
    cli.main()


if __name__ == "__main__":
    assert shutil.which("setpriv"), "util-linux is not installed"
    main()
