"""No word that the project gave up is left in what a person reads."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tools.programs import contexts

ROOT = Path(__file__).resolve().parents[2]
PHRASES = (
    "set aside",
    "swept",
    "decided against",
    "for want of",
    "is the story",
    "made to be forgotten",
    "Octavia takes",
    "stock image",
    "in short",
    "failed by a bug",
)
OLD_NAMES = (
    "octavia.ask",
    "publish.retire_unasked_after",
    "retire_unasked_after",
    "build.retry_at_most",
    "retry_at_most",
    "notify.too_old",
    "publish.adopt",
    "too_old",
    "octavia_takes",
    "octavia-takes",
)
OLD_VALUES = ("good", "missing", "unreachable", "waiting", "busy", "set_aside", "swept")
"""States, outcomes and keys of 0.1.0: words like others, but not in the place of a name."""
READS_OLD_NAMES = {
    "docs/upgrading.md",
    "charm/src/unit_status.py",
    "retrofit/config/renamed.py",
    "retrofit/notify/notification.py",
    "retrofit/runs/history.py",
    "retrofit/runs/report_document.py",
    "retrofit/status/metrics.py",
    "retrofit/status/run_metrics.py",
}
"""Where words of 0.1.0 are translated, or listed for those who upgrade."""
OTHERS_WORDS = {("waiting", "charm/src/charm.py"), ("missing", "retrofit/simplestreams/index.py")}
"""Juju's status, and pydantic's kind of error."""
CODE = ("retrofit", "scheduler", "charm/src", "tests/devcloud")
PAGES = (
    "*.md",
    "docs/**/*.md",
    "man/*",
    "charm/*.md",
    "charm/*.yaml",
    "monitoring/*",
    "elements/**/*.rst",
    "scheduler/systemd/*",
    "scheduler/web/templates/*",
    "Containerfile",
    "Makefile",
)


def strings(path: Path) -> Iterator[str]:
    """The texts of a module: what it says, logs, prints and names; no docstrings."""
    tree = ast.parse(path.read_text())
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    parts = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            texts = [each for each in node.values if isinstance(each, ast.Constant)]
            parts |= {id(each) for each in texts}
            yield "{}".join(str(each.value) for each in texts)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or id(node) in docstrings | parts:
            continue
        if isinstance(node.value, str):
            yield node.value


def texts() -> Iterator[tuple[str, str]]:
    """Everything that a person reads, with the name of where it stands."""
    for room in CODE:
        for path in sorted((ROOT / room).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            yield from ((name, text) for text in strings(path))
    for pattern in PAGES:
        for path in sorted(ROOT.glob(pattern)):
            if path.is_file():
                yield str(path.relative_to(ROOT)), path.read_text()
    for context in contexts():
        program, *words = context.command_path.split()
        shown = CliRunner().invoke(context.find_root().command, [*words, "--help"])
        yield f"{program} {' '.join(words)} --help", shown.output


TEXTS = list(texts())


@pytest.mark.parametrize("phrase", PHRASES)
def test_phrase_is_gone(phrase: str) -> None:
    pattern = re.compile(r"\b" + re.escape(phrase).replace(r"\ ", r"\s+") + r"\b", re.IGNORECASE)
    found = {name for name, text in TEXTS if pattern.search(text) and text not in OLD_VALUES}
    assert found - {"docs/upgrading.md"} == set()


@pytest.mark.parametrize("old", OLD_NAMES)
def test_old_name_is_gone(old: str) -> None:
    pattern = re.compile(rf"(?<![\w.]){re.escape(old)}(?![\w])")
    found = {name for name, text in TEXTS if pattern.search(text)}
    assert found - READS_OLD_NAMES == set()


@pytest.mark.parametrize("old", OLD_VALUES)
def test_old_value_is_gone(old: str) -> None:
    """As a string of its own in the code, or as code in a page."""
    found = {name for name, text in TEXTS if text == old or f"`{old}`" in text}
    others = {name for word, name in OTHERS_WORDS if word == old}
    assert found - READS_OLD_NAMES - others == set()


def test_texts_of_a_module_are_found(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text('"""A docstring."""\n\nraise ValueError(f"a {1} b" "c")\nlog.info("event")\n')
    assert sorted(strings(module)) == ["a {} bc", "event"]


def test_all_kinds_of_texts_are_read() -> None:
    names = {name for name, _ in TEXTS}
    assert {"README.md", "docs/operations.md", "charm/charmcraft.yaml"} <= names
    assert {"retrofit run-once --help", "retrofit/cli/root.py", "man/retrofit.1"} <= names
