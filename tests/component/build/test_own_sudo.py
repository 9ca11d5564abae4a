"""A build's own sudo does what sudo does for root, without policy, version or installation."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from retrofit.build.handover import SUDO
from tests.component.elements.element_scripts import required

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
KEPT_BY_SUDO = frozenset(
    {"SUDO_COMMAND", "MAIL", "SHLVL", "SHELL", "_", "PATH", "PWD", "SUDO_HOME"}
)
"""What differs from the real one, by design or without anybody's loss."""

pytestmark = pytest.mark.root


@pytest.fixture
def sudo(tmp_path: Path) -> Path:
    copy = tmp_path / "bin" / "sudo"
    copy.parent.mkdir()
    shutil.copy(SUDO, copy)
    copy.chmod(0o755)
    return copy


def run(sudo: str | Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {"LANG": "C.UTF-8", "TERM": "dumb", "HOME": "/somewhere", "PATH": SYSTEM_PATH}
    return subprocess.run(
        [sudo, *words],
        env={**given, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def environment(sudo: str | Path, *words: str, **given: str) -> dict[str, str]:
    ended = run(sudo, *words, "env", **given)
    assert ended.returncode == 0, ended.stderr
    return dict(line.split("=", 1) for line in ended.stdout.splitlines())


@pytest.mark.parametrize(
    "words",
    [
        (), ("-n",), ("-E",), ("-nE",), ("-n", "-E", "--"), ("--preserve-env",), ("-H",),
        ("--preserve-env=DIB_X,http_proxy",), ("DIB_Y=2",), ("-n", "DIB_Y=a b", "DIB_Z=3"),
        ("-u", "root"), ("-E", "DIB_X=other"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_command_gets_the_environment_that_sudo_gives_it(
    sudo: Path, words: tuple[str, ...]
) -> None:
    given = {"DIB_X": "a b", "http_proxy": "http://proxy.example", "LC_ALL": "C", "TMPDIR": "/t"}
    ours = environment(sudo, *words, **given)
    assert ours["PATH"] == f"{sudo.parent}:{SYSTEM_PATH}"
    real = shutil.which("sudo", path=SYSTEM_PATH)
    if real is None or "sudo-rs" in str(Path(real).resolve()):
        return  # nothing to compare with
    theirs = environment(real, *words, **given)
    for name in (ours.keys() | theirs.keys()) - KEPT_BY_SUDO:
        if name == "HOME" and {"-H"} & {*words}:
            continue  # the home of root in both, but of our /etc/passwd
        assert ours.get(name) == theirs.get(name), name


def test_functions_of_a_shell_pass_with_the_environment_only(sudo: Path) -> None:
    script = 'f() { echo passed; }; export -f f; "$0" "$@" bash -c "f || true"'
    for option, passed in (("-n", ""), ("-E", "passed\n")):
        ended = subprocess.run(
            ["bash", "-c", script, sudo, option], capture_output=True, text=True, check=False
        )
        assert ended.stdout == passed


def test_what_a_command_starts_finds_it_again(sudo: Path) -> None:
    ended = run(sudo, "sh", "-c", "command -v sudo && sudo -n true")
    assert (ended.stdout.strip(), ended.returncode) == (str(sudo), 0)


def test_exit_codes_and_outputs_are_the_commands(sudo: Path) -> None:
    ended = run(sudo, "-n", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (ended.stdout, ended.stderr, ended.returncode) == ("out\n", "err\n", 7)
    assert run(sudo, "no-such-program").returncode != 0
    assert "usage: sudo" in run(sudo, "-n").stderr


def test_another_user_is_that_user(sudo: Path) -> None:
    for words in (("-u", "nobody"), ("-unobody",), ("--user=nobody",), ("--user", "nobody")):
        assert run(sudo, *words, "id", "-un").stdout == "nobody\n"
    assert environment(sudo, "-u", "nobody")["USER"] == "nobody"


def test_an_option_that_it_does_not_know_is_the_installed_sudos(
    sudo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = run(sudo, "-l")
    if shutil.which("sudo", path=SYSTEM_PATH):
        assert "does not know" not in ended.stderr
    # The same where none is installed: it says which.
    text = sudo.read_text().replace("/usr/bin:/sbin:/bin", "/nowhere").replace("/usr/", "/nowhere/")
    sudo.write_text(text)
    ended = run(sudo, "-l", PATH=os.environ["PATH"])
    assert ended.returncode == 1
    assert "does not know -l, and no other one is installed" in ended.stderr


def test_shellcheck_is_content() -> None:
    ended = subprocess.run(
        [required("shellcheck"), SUDO], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout
