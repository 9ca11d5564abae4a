"""The programs that the agent's own scripts and units call, read from them.

A list of names ages with each release of the agent; its templates and health checkers do not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from retrofit.verify.checks import CheckFailedError, NotApplicableError
from retrofit.verify.offline.rules import Subject, rule
from retrofit.verify.tree import Tree

BACKENDS = "octavia/amphorae/backends"
SCRIPT = re.compile(r"systemd|check|\.sh(\.j2)?$")
"""Names of the files that reach an amphora: templates for other init systems do not."""
BY_PATH = re.compile(r"(?<![\w./}])/(?:usr/)?(?:local/)?s?bin/[\w.-]+(?![\w/{-])")
BY_NAME = re.compile(
    r"(?:\bwhich |\bnetns exec \{\{ *\w+ *\}\} |\| +|^ {0,8}(?=systemctl |bash ))([a-z][\w-]*)",
    re.MULTILINE,
)
"""Words where a shell or `ip netns exec` looks for a program."""
COMMENT = re.compile(r"^[ \t]*#(?!!)[^\n]*|\{#(?s:.*?)#\}", re.MULTILINE)
LONGEST_SCRIPT = 64 * 1024


@rule("agent-calls")
def agent_calls(subject: Subject) -> str:
    """Look for every program that the agent's units, scripts and health checkers call."""
    tree = subject.tree
    called: dict[str, str] = {}
    for path in _scripts(subject):
        for program in calls(tree.text(path) or ""):
            called.setdefault(program, path)
    if not called:
        raise NotApplicableError("the agent's package has no scripts of its own")
    missing = [
        f"{program} (called by {path.rpartition('/')[2]})"
        for program, path in sorted(called.items())
        if not _is_there(tree, program)
    ]
    if missing:
        raise CheckFailedError(f"not there: {', '.join(missing)}")
    return ", ".join(sorted(called))


def _scripts(subject: Subject) -> Iterator[str]:
    for directory in subject.agent_python:
        for place in ("utils", "agent/api_server/templates"):
            for pattern in ("*.sh", "*.j2"):
                for path in subject.tree.glob(f"{directory}/{BACKENDS}/{place}", pattern):
                    if SCRIPT.search(path.rpartition("/")[2]):
                        yield path


def calls(text: str) -> set[str]:
    """Return the programs in a script or unit, by path where it names one."""
    bare = COMMENT.sub("", text[:LONGEST_SCRIPT])
    return {*BY_PATH.findall(bare), *BY_NAME.findall(bare)}


def _is_there(tree: Tree, program: str) -> bool:
    return tree.is_executable(program) if program.startswith("/") else bool(tree.which(program))
