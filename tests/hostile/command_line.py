"""The command line as an operator uses it, and a record of every program that it starts."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog

from retrofit import cli
from retrofit.build.work_directory import loop_devices, mount_points
from retrofit.produce.preflight.machine import TRY_MOUNT
from retrofit.system import process
from retrofit.system.own_directory import MARKER

READERS = frozenset({"qemu-img", "blkid", "dumpe2fs", "e2fsck", "debugfs"})
"""Programs that read a source's bytes in userspace: none of them mounts or executes anything."""
MAY_WE_MOUNT = [
    *("unshare", "--mount", "--pid", "--fork", "--mount-proc"),
    *("sh", "-c", f"exec 1>&2{TRY_MOUNT}"),
]
"""How a build asks whether it has the right: no source has a part in that."""
COPY = ["cp", "--reflink=auto", "--sparse=always", "--"]
"""How a file is copied from where others may change it: cp reads no format of it."""


@contextmanager
def logging_put_back() -> Iterator[None]:
    """A command sends events to its own stderr, which ends with the test."""
    before, handlers = structlog.get_config(), logging.getLogger().handlers[:]
    try:
        yield
    finally:
        structlog.configure(**before)
        logging.getLogger().handlers[:] = handlers


@dataclass(kw_only=True)
class Outcome:
    """What a command did: exit code, what it said, and the programs that it started."""

    code: int
    out: str
    err: str
    started: list[list[str]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class CommandLine:
    """A configuration of a test's own, with which commands are given."""

    base: Path
    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch

    @property
    def config(self) -> Path:
        return self.base / "retrofit.toml"

    @property
    def output(self) -> Path:
        return self.base / "out" / "amphora.qcow2"

    def configure(self, text: str = "") -> None:
        places = "".join(
            f'{name} = "{self.base / name}"\n' for name in ("state", "cache", "work", "logs")
        )
        self.config.write_text(f"[paths]\n{places}{text}")

    def give(self, *words: str | Path) -> Outcome:
        """Give a command, within this process: only its programs are others."""
        self.capsys.readouterr()
        started: list[list[str]] = []
        real = process.started

        @contextmanager
        def recording(argv: list[str], **options: Any) -> Iterator[Any]:
            started.append(argv)
            with real(argv, **options) as child:
                yield child

        with self.monkeypatch.context() as patch:
            patch.setattr(process, "started", recording)
            patch.setattr(sys, "argv", ["retrofit", "--config", *map(str, (self.config, *words))])
            with logging_put_back(), pytest.raises(SystemExit) as ended:
                cli.main()
        said = self.capsys.readouterr()
        return Outcome(code=int(ended.value.code or 0), out=said.out, err=said.err, started=started)

    def build(self, source: Path) -> Outcome:
        self.output.parent.mkdir(exist_ok=True)
        return self.give("build", "--source", source, "--output", self.output)

    def assert_nothing_left(self) -> None:
        assert mount_points(self.base) == []
        assert loop_devices(self.base) == []
        work = self.base / "work"
        left = [path for path in work.rglob("*") if not path.is_dir()]
        assert [path for path in left if path != work / MARKER] == []
        assert not self.output.exists()
        assert list(self.output.parent.glob("*.part")) == []


@pytest.fixture
def command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> CommandLine:
    opened = CommandLine(base=tmp_path, capsys=capsys, monkeypatch=monkeypatch)
    opened.configure()
    return opened
