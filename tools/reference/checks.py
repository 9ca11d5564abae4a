"""Every check of a verification, from the registers that the verification itself uses."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator

from retrofit.control_plane.agents import DEFECTS, FEATURES, Defect
from retrofit.control_plane.language import KINDS
from retrofit.model import Outcome
from retrofit.verify.boot.checks import CHECKS
from retrofit.verify.offline import RULES
from retrofit.verify.verify import BILL, FILES, FILESYSTEMS
from tools.reference.markdown import one_line, table

INTRODUCTION = """\
# Verification checks

`checks.json` in a run's log directory, and `verification.checks` of its report, list every check
with `name`, `outcome`, `detail` and `seconds`. One failed check fails the image.
[Verification](../explanation/verification.md) explains the two parts.
"""
OUTCOMES = {
    "passed": "The image has what the check looks for; `detail` shows it.",
    "failed": "It has not; `detail` shows what it has.",
    "not applicable": "The check has no meaning for this image; `detail` gives the reason.",
    "warned": "The image may do; `detail` shows what to know of it. It does not fail the image.",
    "skipped": "It was not made: a check that it needs did not pass, or it belongs to a higher"
    " `verify.level`.",
}
BOOTS = """\
The first boot, `single`, is an amphora on machine type `q35` with topology SINGLE, managed over
IPv4 (DHCP). The second, `pair`, is one of topology ACTIVE_STANDBY on `pc`, managed over IPv6
(SLAAC); verification plays the other amphora. Each has three network cards.
`retrofit verify --only CHECK` makes one check, and those that it needs.
"""
AGES = """\
A check of something that the agent's release does not have yet is `not applicable`. Where the
release of the control plane is known, the image's files are asked as well: `agent-release` for how
far both are apart, and a check such as `agent-has-sr-iov-vip` for each feature that this control
plane asks of agents. At level `offline`, `control-plane-certificates` is inferred from the version
of Python.
"""
KINDS_TEXT = """\
`control-plane-asked` becomes a check of each kind for each release of Octavia in question, such as
`haproxy-takes-2025.1-http-monitor`: see [Octavia](../how-to/octavia.md).
"""
DEFECTS_TEXT = """\
`agent-known-defects` reads the agent's own files for each: a fix that a distribution brought back
counts.
"""
HEAD = ("Check", "What it does")


def body() -> str:
    """Return the page."""
    inside = [(FILESYSTEMS, "Find the partitions, and mount their filesystems read-only.")]
    inside += [(name, _first(rule)) for name, rule in RULES.items()]
    inside += [(FILES, "Read the files for the control plane; listed only when that fails.")]
    inside += [(BILL, "Write the bill of materials; listed only when that fails.")]
    return "\n".join(
        [
            INTRODUCTION,
            table(("Outcome", "Meaning"), [(f"`{each}`", OUTCOMES[each]) for each in Outcome]),
            "## Looking inside (`offline`)\n",
            table(HEAD, [(f"`{name}`", text) for name, text in inside]),
            "## Booting (`full`, and `boot` where it is named)\n",
            BOOTS,
            table((*HEAD, "Level", "Boot", "Needs"), list(_rows())),
            "### Kinds of load balancers\n",
            KINDS_TEXT,
            table(
                ("Kind", "Program", "Seen in the API by", "Form that was given up"),
                [
                    (
                        f"`{kind.name}`",
                        kind.program,
                        kind.seen_by,
                        "; ".join(f"`{form.text}` ({form.source})" for form in kind.forms),
                    )
                    for kind in KINDS
                ],
            ),
            "### Releases\n",
            AGES,
            table(
                ("Agents have", "since octavia", "Source"),
                [(each.name, str(each.since), each.source) for each in FEATURES],
            ),
            "### Known defects of agents\n",
            DEFECTS_TEXT,
            table(
                ("Defect", "Mended in octavia", "Concerns", "Harm", "Answered by", "Source"),
                [_defect(each) for each in DEFECTS],
            ),
        ]
    )


def _defect(defect: Defect) -> tuple[str, ...]:
    python = "all" if defect.python is None else f"Python {defect.python[0]}.{defect.python[1]} on"
    mended = ", ".join(".".join(map(str, each)) for each in defect.first.values())
    answer = ", ".join(f"`{each}`" for each in defect.answer)
    return f"`{defect.name}`", mended, python, defect.harm, answer, defect.source


def _rows() -> Iterator[tuple[str, ...]]:
    for check in CHECKS:
        yield (
            f"`{check.name}`",
            _first(check.run),
            f"`{check.level}`",
            f"`{check.scenario.name}`",
            ", ".join(f"`{need}`" for need in check.needs),
        )


def _first(check: Callable[..., str]) -> str:
    """Return the first sentence of a check's docstring."""
    return one_line((inspect.getdoc(check) or "").partition("\n\n")[0])
