"""Credentials of the configuration are in nothing that a command says, writes, starts or builds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.component import disks
from tests.devcloud.stock import make
from tests.hostile.command_line import CommandLine
from tests.hostile.planted import ADDRESS, SECRET, Watch

CONFIG = f"""
[lock]
url = "redis:{ADDRESS}?password={SECRET}"
[cloud]
name = "planted"
clouds_yaml = "CLOUDS"
[mirror]
url = "http://127.0.0.1:9/mirror"
allow_unsigned = true
retries = 0
timeout = 2
[source]
origin = "simplestreams"
[notify]
url = "http://127.0.0.1:9/services/{SECRET}"
secret_file = "SECRET_FILE"
retries = 0
timeout = 2
[build]
python_index = "https:{ADDRESS}/simple"
http_proxy = "http:{ADDRESS}"
https_proxy = "http:{ADDRESS}"
archive_mirror = "http:{ADDRESS}/debian"
security_mirror = "http:{ADDRESS}/security"
cloud_archive_mirror = "http:{ADDRESS}/cloud"
upgrade = false
free_space = 512
"""
CLOUDS = f"""
clouds:
  planted:
    auth: {{auth_url: "http://127.0.0.1:9/v3", username: u, password: {SECRET}, project_name: p,
           user_domain_name: Default, project_domain_name: Default}}
"""


@pytest.fixture
def planted(command_line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, f"http:{ADDRESS}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    clouds, secret = command_line.base / "clouds.yaml", command_line.base / "secret"
    for path, text in ((clouds, CLOUDS), (secret, SECRET)):
        path.write_text(text)
        path.chmod(0o600)
    command_line.configure(
        CONFIG.replace("CLOUDS", str(clouds)).replace("SECRET_FILE", str(secret))
    )
    return command_line


def assert_told_nowhere(command_line: CommandLine, *said: str) -> None:
    for text in said:
        assert SECRET not in text
        assert "planted-user" not in text
    for place in ("state", "cache", "work", "logs", "out"):
        for path in (command_line.base / place).rglob("*"):
            assert SECRET not in str(path)
            if path.is_file():
                assert SECRET.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    "words",
    [
        ("config", "show"),
        ("config", "show", "-o", "json"),
        ("config", "check"),
        ("plan", "-v"),
        ("run-once",),
        ("run-once", "--output", "json"),
        ("status",),
        ("notify", "--test"),
        ("history",),
        ("list",),
    ],
    ids=" ".join,
)
def test_commands_tell_no_credentials(planted: CommandLine, words: tuple[str, ...]) -> None:
    outcome = planted.give(*words)
    assert "Traceback" not in outcome.err
    assert_told_nowhere(planted, outcome.out, outcome.err)
    assert not any(SECRET in word for argv in outcome.started for word in argv)
    if words[0] == "config" and words[1] == "show":
        assert "://***@127.0.0.1:9" in outcome.out


@pytest.mark.parametrize(
    "wrong",
    [
        f'[lock]\nurl = "nonsense:{ADDRESS}"',
        f'[lock]\nurl = "redis:{ADDRESS}"\nlease = "x"',
        f'[mirror]\nurl = "ftp:{ADDRESS}"',
        f'[mirror]\nurl = "http:{ADDRESS}"',
        f'[mirror]\nproxy = "http:{ADDRESS}"',
        f'[notify]\nurl = "http:{ADDRESS}/services/{SECRET}"',
        f'[build]\nhttp_proxy = ["http:{ADDRESS}"]',
        f'[build.environment]\nDIB_PASSWORD = {{a = "{SECRET}"}}',
        f'[notify]\nurl = "x:{ADDRESS}/"',
    ],
)
def test_what_is_wrong_is_said_without_credentials(command_line: CommandLine, wrong: str) -> None:
    command_line.configure(wrong)
    outcome = command_line.give("run-once")
    assert outcome.code != 0
    assert_told_nowhere(command_line, outcome.out, outcome.err)


def test_a_failed_run_is_kept_without_credentials(planted: CommandLine) -> None:
    # Without the lock server a run gets further: to the mirror, and to whom is told of it.
    text = planted.config.read_text()
    before, _, after = text.partition("[lock]")
    planted.config.write_text(before + "[cloud]" + after.partition("[cloud]")[2])
    outcome = planted.give("run-once", "--output", "json")
    assert outcome.code in {3, 4}, outcome.err
    assert list((planted.base / "logs").rglob("report.json"))
    assert_told_nowhere(planted, outcome.out, outcome.err)
    told = planted.give("notify")
    assert_told_nowhere(planted, told.out, told.err)


# Says what a careless package might, and takes no time to install.
SCRIPT = """#!/bin/bash
set -eu
echo "Get:1 $http_proxy index"
grep -rh 127.0.0.1:9 /etc/apt/sources.list* || true
"""


@pytest.mark.slow
def test_a_real_build_leaves_no_credentials(planted: CommandLine) -> None:
    elements = planted.base / "elements"
    for name in ("amphora", "amphora-agent-distro"):
        (elements / name).mkdir(parents=True)
    (elements / "amphora/install.d").mkdir()
    script = elements / "amphora/install.d/50-careless"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    planted.config.write_text(
        planted.config.read_text()
        + f'elements = ["stock-archive"]\nelement_paths = ["{elements}"]\n'
        + f'[build.environment]\nDIB_MY_PASSWORD = "{SECRET}"\n'
    )
    source = make("jammy")
    planted.output.parent.mkdir()
    with Watch() as watch:
        done = subprocess.run(
            [Path(sys.executable).with_name("retrofit"), "--config", planted.config, "build",
             "--source", source, "--output", planted.output],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert watch.looks > 100
    assert watch.seen == set()
    raw = planted.base / "raw"
    disks.run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", planted.output, raw)
    found = subprocess.run(
        ["grep", "--only-matching", "--byte-offset", "--text", "--fixed-strings", SECRET, raw],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.stdout == ""
    raw.unlink()
    planted.output.unlink()
    assert_told_nowhere(planted, done.stdout, done.stderr)
