"""Whether an image takes the configurations that its control plane writes, asked of itself."""

from __future__ import annotations

import base64
from collections.abc import Callable

from retrofit.control_plane.configurations import (
    CERTIFICATE,
    DIRECTORY,
    INTERFACE,
    PEER,
    texts_of,
)
from retrofit.control_plane.expectation import Expectation, Finding, findings, inferred
from retrofit.model import Outcome
from retrofit.verify.checks import CheckFailedError, Record

ASK_TIMEOUT = 600.0
"""Seconds for all questions: in emulation each takes some tenths of a second."""
SECURITY = 6
"""Exit code of `keepalived -t` for scripts that run as root, which Octavia's are.

keepalived names it `KEEPALIVED_EXIT_CONFIG_TEST_SECURITY`, and runs them all the same.
"""
SEPARATOR = "== answer "


def ask_language(
    expected: Expectation, ask: Callable[[str, float], str], *, pem: bytes
) -> dict[str, str | None]:
    """Ask the booted image by its own `haproxy -c` and `keepalived -t`; return its answers.

    `ask` runs a shell script in the machine, within seconds, and returns what it printed. `pem` is
    a certificate with its key, for the configurations with TLS. Raises CheckFailedError where an
    answer is missing.
    """
    texts = texts_of(expected.questions())
    output = ask(script(texts, pem), ASK_TIMEOUT)
    return dict(zip(texts, read(output, len(texts)), strict=True))


def infer_language(expected: Expectation, haproxy: str | None, record: Record) -> None:
    """Judge an image that is not booted by the version of its HAProxy; only warnings come of it."""
    if haproxy is not None:
        found = findings(expected, inferred(expected, haproxy), proven=False)
        add([each for each in found if each.refused], record)


def add(found: list[Finding], record: Record) -> None:
    """Add a check for each finding."""
    for each in found:
        outcome = Outcome.PASSED
        if each.refused:
            outcome = Outcome.FAILED if each.refuses else Outcome.WARNED
        record.add(each.name, outcome, each.detail, 0.0)


def script(texts: dict[str, str], pem: bytes) -> str:
    """Return the shell script that asks for every text, and prints an answer for each.

    It works in a network namespace of its own: what VRRP needs an interface for is no card of the
    machine's.
    """
    lines = [
        f"rm -rf {DIRECTORY}; mkdir -p {DIRECTORY}; cd {DIRECTORY}",
        f"base64 -d <<< {base64.b64encode(pem).decode()} > {CERTIFICATE}",
        f"ip link add {INTERFACE} type veth peer name retrofit1",
    ]
    for number, (text, program) in enumerate(texts.items()):
        lines.append(f"base64 -d <<< {base64.b64encode(text.encode()).decode()} > {number}.cfg")
        command = (
            f"haproxy -L {PEER} -c -f {DIRECTORY}/{number}.cfg"
            if program == "haproxy"
            else f"keepalived -t -f {DIRECTORY}/{number}.cfg || test $? = {SECURITY}"
        )
        lines.append(f'out=$({command} 2>&1); echo "{SEPARATOR}{number} $?"; tail -n 8 <<< "$out"')
    lines.append(f"ip link del {INTERFACE}; rm -rf {DIRECTORY}")
    inside = base64.b64encode("\n".join(lines).encode()).decode()
    return f"base64 -d <<< {inside} > /run/retrofit-ask; unshare --net bash /run/retrofit-ask"


def read(output: str, count: int) -> list[str | None]:
    """Read the script's output: for each text the refusal, None where it was taken.

    Raises CheckFailedError where an answer is missing.
    """
    answers: list[str | None] = []
    for number, part in enumerate(output.split(SEPARATOR)[1:]):
        head, _, rest = part.partition("\n")
        place, _, code = head.partition(" ")
        if place != str(number) or not code.strip().isdecimal():
            break
        answers.append(None if code.strip() == "0" else _words(rest))
    if len(answers) != count:
        raise CheckFailedError(
            f"{len(answers)} of {count} configurations were answered: {output[-300:]!r}"
        )
    return answers


def _words(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    alerts = [line for line in lines if "ALERT" in line]
    return (alerts or lines or ["refused without a word"])[0][:300]
