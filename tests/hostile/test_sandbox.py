"""What a guest can do that has got out of its emulator."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from retrofit.system import process, sandbox_exec
from retrofit.system.sandbox import ALWAYS_READABLE, sandboxed

PYTHON = (sys.executable, "-I", "-S", "-c")
ESCAPED = """
import json, os, sys

found = {}
for name, act in {
    "read mine": lambda: open(sys.argv[1] + "/mine").read(),
    "write mine": lambda: open(sys.argv[1] + "/mine", "r+").write("done"),
    "truncate mine": lambda: os.truncate(sys.argv[1] + "/mine", 4),
    "read lent": lambda: open(sys.argv[1] + "/lent").read(),
    "write lent": lambda: open(sys.argv[1] + "/lent", "r+").write("done"),
    "truncate lent": lambda: os.truncate(sys.argv[1] + "/lent", 0),
    "read secret": lambda: open(sys.argv[1] + "/secret").read(),
    "make a file": lambda: open(sys.argv[1] + "/new", "x"),
    "delete mine": lambda: os.unlink(sys.argv[1] + "/mine"),
    "move secret": lambda: os.rename(sys.argv[1] + "/secret", sys.argv[1] + "/mine"),
    "list": lambda: os.listdir(sys.argv[1]),
    "read passwords": lambda: open("/etc/shadow").read(),
    "run a program": lambda: os.execv(sys.argv[1] + "/program", ["program"]),
    "signal": lambda: os.kill(os.getppid(), 0),
    "environment": lambda: open(f"/proc/{os.getppid()}/environ").read(),
    "change owner": lambda: os.chown(sys.argv[1] + "/mine", 1, 1),
    "be another": lambda: os.setuid(1),
    "change root": lambda: os.chroot("/"),
}.items():
    try:
        act()
        found[name] = True
    except PermissionError:
        found[name] = False
for line in open("/proc/self/status"):
    if line.startswith("Cap"):
        found[line.split(":")[0]] = int(line.split()[1], 16)
print(json.dumps(found))
"""

version = ctypes.CDLL(None).syscall(
    sandbox_exec.CREATE_RULESET, None, 0, sandbox_exec.ASK_FOR_VERSION
)  # as sandbox_exec.py asks
needs_landlock = pytest.mark.skipif(version < 6, reason="this kernel has no Landlock of Linux 6.12")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in ("mine", "lent", "secret"):
        (tmp_path / name).write_text(f"what was {name}")
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return tmp_path


def escaped(directory: Path) -> dict[str, int]:
    command = sandboxed(
        *(*PYTHON, ESCAPED, directory),
        read=[sys.prefix, sys.base_prefix, directory / "lent"],
        write=[directory / "mine", directory / "not there"],
    )
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert finished.returncode == 0, finished.stderr
    return dict(json.loads(finished.stdout))


@needs_landlock
def test_it_has_its_own_files_and_nobody_elses(directory: Path) -> None:
    found = escaped(directory)
    allowed = {name for name, done in found.items() if done and not name.startswith("Cap")}
    assert allowed == {"read mine", "write mine", "truncate mine", "read lent"}
    assert (directory / "mine").read_text() == "done"
    assert (directory / "lent").read_text() == "what was lent"


def test_it_has_no_power_of_root_but_over_files(directory: Path) -> None:
    assert os.geteuid() == 0
    found = escaped(directory)
    assert not found["be another"]
    assert not found["change owner"]
    assert not found["change root"]
    assert found["CapEff"] == found["CapPrm"] == sandbox_exec.KEPT
    assert found["CapInh"] == 0


def test_what_is_not_there_is_told_as_by_a_shell(directory: Path) -> None:
    for program, code, said in (("no-such", 127, "No such file"), (directory, 126, "Permission")):
        told = subprocess.run(
            sandboxed(program), capture_output=True, text=True, check=False, timeout=60
        )
        assert (told.returncode, told.stdout) == (code, "")
        assert told.stderr.startswith(f"cannot start {program}: {said}")


@needs_landlock
@pytest.mark.parametrize("connect", [True, False])
def test_only_who_has_to_connect_can(connect: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ask = f"import socket; socket.create_connection({server.getsockname()!r}, 5)"
        command = sandboxed(*PYTHON, ask, read=[sys.prefix, sys.base_prefix], connect=connect)
        told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (told.returncode == 0) is connect
    assert ("PermissionError" in told.stderr) is not connect


OF_AN_OLDER_KERNEL = """
import sys
from unittest.mock import patch

sys.path.insert(0, sys.argv[1])
import sandbox_exec

libc = sandbox_exec.ctypes.CDLL(None, use_errno=True)

class Older:
    prctl, capget, capset = libc.prctl, libc.capget, libc.capset

    def syscall(self, number, *words):
        if number == sandbox_exec.CREATE_RULESET and words[2] == sandbox_exec.ASK_FOR_VERSION:
            return int(sys.argv[2])
        return libc.syscall(number, *words)

with patch.object(sandbox_exec.ctypes, "CDLL", lambda *_, **__: Older()):
    sandbox_exec.main(sys.argv[3:])
"""


@needs_landlock
@pytest.mark.parametrize("older", [-1, 0, 1, 2, 3, 4, 5, 6])
def test_an_older_kernel_is_asked_for_no_more_than_it_has(older: int, directory: Path) -> None:
    system = [word for path in ALWAYS_READABLE for word in ("--read", path)]
    words = [*system, "--read", str(directory / "lent"), "--", "cat"]
    place = str(Path(sandbox_exec.__file__).parent)
    for name in ("lent", "secret"):
        told = subprocess.run(
            [sys.executable, "-c", OF_AN_OLDER_KERNEL, place, str(older), *words, directory / name],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        allowed = name == "lent" or older < 1
        assert told.stdout == (f"what was {name}" if allowed else ""), told.stderr
        assert (told.returncode == 0) is allowed


@pytest.mark.parametrize(
    ("script", "limits", "said"),
    [
        ("echo so >&2; exit 3", {}, "bash failed with exit code 3: so"),
        ("sleep 60", {"timeout": 0.5}, "bash did not finish within 0.5 s"),
    ],
)
def test_what_fails_is_the_program_and_not_what_confines_it(
    script: str, limits: dict[str, float], said: str
) -> None:
    with pytest.raises(process.CommandError) as caught:
        process.run(sandboxed("bash", "-c", script), **{"timeout": 30.0, **limits})
    assert caught.value.message == said
