"""Text in an image that is made to keep its readers busy, or to break them: a check fails, soon."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

from retrofit.errors import VerifyError
from retrofit.model import Outcome
from retrofit.verify import verify
from retrofit.verify.boot.machine import LOST
from retrofit.verify.checks import LONGEST_DETAIL, Record
from retrofit.verify.offline import RULES
from retrofit.verify.packages import python_distributions
from retrofit.verify.tree import Tree
from retrofit.verify.units import parse
from tests.unit import amphora_tree as made

SOON = 5.0
"""Seconds; each of these took from ten to many times as long."""

AGENT_UNIT = "/etc/systemd/system/amphora-agent.service"
INTERFACE_FILE = (
    "/opt/amphora-agent-venv/lib/python3.12/site-packages"
    "/octavia/amphorae/backends/utils/interface_file.py"
)
# Eight lists, each of nine of the one before.
ALIASES = "\n".join(
    [
        "a0: &a0 [x, x, x, x, x, x, x, x, x]",
        *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)),
    ]
)
MERGES = "\n".join(
    [
        "a0: &a0 {x: y}",
        *(f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)),
    ]
)
BUSY = [
    ("haproxy-user-group", "/var/lib/octavia/haproxy-default-user-group.conf",
     "global" + "\n " * 24),
    ("no-proxy", "/etc/environment", "\n" * 30_000),
    ("no-proxy", "/etc/environment", "x\n" + " " * 60_000 + "http_proxy" + " " * 60_000),
    ("no-apt-proxy", "/etc/apt/apt.conf", "\n" * 30_000),
    ("no-apt-proxy", "/etc/apt/apt.conf", "Acquire::" + "Proxy::" * 20_000),
    ("no-apt-proxy", "/etc/apt/apt.conf", 'Proxy "' + "://" * 80_000),
    ("no-default-interfaces", "/etc/network/interfaces", "\n" * 40_000),
    ("resolver", "/etc/resolv.conf", "\n" * 40_000),
    ("resolver", "/etc/nsswitch.conf", "hosts: " + "[" * 300_000),
    ("agent-scripts", INTERFACE_FILE, "a" * 60_000),
    ("cloud-init-datasource", "/etc/cloud/cloud.cfg.d/zz.cfg",
     f"{ALIASES}\ndatasource_list: [*a8]"),
    ("cloud-init-datasource", "/etc/cloud/cloud.cfg.d/zz.cfg", MERGES),
    ("agent-reads-its-configuration", AGENT_UNIT,
     "[Service]\nExecStart=x\n" + "".join(
         f"ExecStart=/etc/init.d/{'./' * n}large\n" for n in range(400))),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "path", "text"), BUSY, ids=[f"{name}-{n}" for n, (name, _, _) in enumerate(BUSY)]
)
def test_no_file_keeps_a_check_busy(name: str, path: str, text: str, tmp_path: Path) -> None:
    made.make(tmp_path)
    made.write(tmp_path, "/etc/init.d/large", "x" * (4 << 20))
    made.write(tmp_path, path, text)
    subject, record = made.subject(tmp_path), Record()
    begun = time.monotonic()
    record.attempt(name, lambda: RULES[name](subject))
    assert time.monotonic() - begun < SOON


@pytest.mark.parametrize(
    "work",
    [
        lambda _: parse(["[Service]\n" + "ExecStart=x\n" * 60_000]),
        lambda root: Tree(root).resolve("../" * 1_000_000),
        lambda _: LOST.search("ALERT!  " * 30_000),
    ],
    ids=["unit", "path", "console"],
)  # fmt: skip
def test_no_text_keeps_a_parser_busy(work: Callable[[Path], Any], tmp_path: Path) -> None:
    begun = time.monotonic()
    work(tmp_path)
    assert time.monotonic() - begun < SOON


def test_metadata_that_pretends_to_be_a_mail_of_mails_is_read(tmp_path: Path) -> None:
    mails = "Content-Type: message/rfc822\n\n" * 2000
    made.write(tmp_path, "/p/x.dist-info/METADATA", "Name: x\nVersion: 1\n" + mails)
    assert python_distributions(Tree(tmp_path), "/p")["x"].version == "1"


def test_a_rule_without_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(_: object) -> str:
        while True:
            pass

    record, end = Record(), time.monotonic() + 0.3
    for name in ("first", "second"):
        record.attempt(name, lambda: verify._before(end, endless, made.subject(tmp_path)))
    assert [check.outcome for check in record.checks] == [Outcome.FAILED] * 2
    assert "no end of this check" in record.checks[0].detail
    assert "took all the time" in record.checks[1].detail


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (ValueError("embedded null byte"), "ValueError: embedded null byte"),
        (TypeError("unhashable type: 'list'"), "TypeError: unhashable type: 'list'"),
        (RecursionError("too deep"), "RecursionError: too deep"),
        (KeyError("x"), "KeyError: 'x'"),
    ],
)
def test_what_a_check_did_not_expect_is_a_failed_check(error: Exception, detail: str) -> None:
    def check() -> str:
        raise error

    record = Record()
    with structlog.testing.capture_logs() as told:
        assert not record.attempt("name", check)
    assert [(each.outcome, each.detail) for each in record.checks] == [(Outcome.FAILED, detail)]
    assert told[0]["exc_info"]


@pytest.mark.parametrize("error", [VerifyError("no QEMU", hint="install it"), MemoryError()])
def test_what_is_wrong_with_this_machine_is_no_failed_check(error: Exception) -> None:
    def check() -> str:
        raise error

    with pytest.raises(type(error)):
        Record().attempt("name", check)


def test_details_are_short_and_seen() -> None:
    record = Record()
    record.attempt("name", lambda: "\x1b[2J\ud800" + "x" * (1 << 20))
    (check,) = record.checks
    assert check.detail.startswith(r"\x1b[2J\ud800xx")
    assert len(check.detail) < 2 * LONGEST_DETAIL


def test_a_name_with_a_nul_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "usr" / "lib").mkdir(parents=True)
    assert Tree(tmp_path).entry("/usr/lib/a\0b/c") is None
    assert Tree(tmp_path).text("/usr/\0") is None


def test_what_an_image_says_of_itself_fits_a_property() -> None:
    facts = verify._as_properties({"kernel_version": "6\x00" + "\ud800" * 300})
    assert facts["kernel_version"].isprintable()
    assert len(facts["kernel_version"]) == verify.LONGEST_PROPERTY
