"""What the agent and HAProxy call in an image, called as they call it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.component.elements.element_scripts import ELEMENTS, required

PING = ELEMENTS / "amphora-haproxy/static/var/lib/octavia/ping-wrapper.sh"
NETNS = ELEMENTS / "amphora-agent-service/post-install.d/62-amphora-agent-netns"
TEMPLATES = "octavia/amphorae/backends/agent/api_server/templates"

PAIRS = (
    "ExecStart=-/bin/sh -c '/sbin/ip link | awk \\'{getline n; print $0,n}\\' | awk"
    ' \\\'{sub(":","",$2)} { for(i=1;i<=NF;i++) if ($i == "link/ether") {print $(i+1) " " $2} }\\\''
    " | sort -k 1 | join -j 1 - /var/lib/octavia/plugged_interfaces.sorted"
    " | awk \\'{system(...)}\\''\n"
)
"""The line of agents before 19.0.0 that moves cards; LP 2027995."""
LINE_EACH = (
    "ExecStart=-/bin/sh -c '/sbin/ip -br link | awk \\'{print $3 \" \" $1}\\' | sort -k 1"
    " | join -j 1 - /var/lib/octavia/plugged_interfaces.sorted | awk \\'{system(...)}\\''\n"
)
"""The same line of 19.0.0."""


@pytest.mark.parametrize(("address", "answers"), [("127.0.0.1", True), ("192.0.2.1", False)])
def test_the_ping_of_haproxy_finds_its_program_without_a_path(address: str, answers: bool) -> None:
    """HAProxy clears the environment of external checks, PATH included, where none is set."""
    required("ping")
    alone = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    script = f"ip link set lo up; exec env -i PATH= HAPROXY_SERVER_ADDR={address} {PING}"
    done = subprocess.run([*alone, "sh", "-c", script], check=False, timeout=30)
    assert (done.returncode == 0) is answers
    assert done.returncode not in {126, 127}, "the program was not found, or may not run"


def mended(directory: Path, line: str) -> tuple[subprocess.CompletedProcess[str], str]:
    """Run the element's script where the agent's package has a template with this line."""
    template = directory / TEMPLATES / "amphora-netns.systemd.j2"
    template.parent.mkdir(parents=True)
    (directory / "octavia/__init__.py").write_text("raise AssertionError('imported')")
    template.write_text(f"[Service]\n{line}# the last line\n")
    agent = directory / "bin/amphora-agent"
    agent.parent.mkdir()
    agent.write_text(f"#!{sys.executable}\n")
    agent.chmod(0o755)
    done = subprocess.run(
        [NETNS],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=directory,
        env={"PATH": f"{agent.parent}:{os.environ['PATH']}", "PYTHONPATH": str(directory)},
    )
    return done, template.read_text()


@pytest.mark.parametrize("line", [PAIRS, LINE_EACH])
def test_cards_are_found_by_one_line_each_whatever_the_agents_release(
    tmp_path: Path, line: str
) -> None:
    done, text = mended(tmp_path, line)
    assert done.returncode == 0, done.stderr
    assert text == f"[Service]\n{LINE_EACH}# the last line\n"


def test_a_pairing_of_another_form_ends_the_build(tmp_path: Path) -> None:
    done, _ = mended(tmp_path, "ExecStart=/bin/sh -c 'ip link | awk {getline x}'\n")
    assert done.returncode == 1
    assert "pairs lines in a form that is not known here" in done.stderr
