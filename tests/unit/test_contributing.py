"""What a contributor and a public CI call is there: targets of make, hooks, one version."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import yaml

from retrofit import __version__
from tests.devcloud.places import CHECKOUT

MAKEFILE = (CHECKOUT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, flags=re.MULTILINE))
LISTED = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, flags=re.MULTILINE))


def document(path: str) -> Any:
    # YAML 1.1 reads the key `on` of a workflow as true.
    return yaml.safe_load((CHECKOUT / path).read_text())


def test_make_help_lists_what_contributors_need() -> None:
    wanted = {"check", "test", "test-all", "coverage", "docs", "bench", "release", "mutation"}
    assert wanted | {"demo", "demo-serial", "demo-down", "hooks", "lint", "help"} <= LISTED


def test_workflow_calls_targets_of_make() -> None:
    workflow = document(".github/workflows/ci.yml")
    called = set()
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 90
        assert job["container"]
        assert all(set(step) - {"with"} in ({"run"}, {"uses"}) for step in job["steps"])
        text = "\n".join(step.get("run", "") for step in job["steps"])
        called |= set(re.findall(r"(?<!git )\bmake ([a-z-]+)", text))
    assert called == {"check", "docs", "test"}
    assert called <= TARGETS
    assert workflow[True]["push"]["branches"] == ["main"]


def test_hooks_call_tools_that_make_check_installs() -> None:
    pinned = (CHECKOUT / "requirements" / "test.txt").read_text()
    (repository,) = document(".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        assert hook["language"] == "system"
        program, *words = hook["entry"].split()
        if program == "make":
            assert words[-1] in TARGETS
        else:
            tool = program.removeprefix(".venv/bin/")
            assert re.search(rf"^{tool}(-py)?==", pinned, flags=re.MULTILINE), tool


def test_version_stands_in_one_place() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    assert project["tool"]["hatch"]["version"]["path"] == "retrofit/__init__.py"


def test_changelog_begins_with_this_version() -> None:
    changelog = (CHECKOUT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## \[(.+?)\](.*)$", changelog, flags=re.MULTILINE)
    released = [(name, rest) for name, rest in headings if name != "Unreleased"]
    assert released[0][0] == __version__
    assert all(re.fullmatch(r" - \d{4}-\d\d-\d\d", rest) for _, rest in released)
    kinds = set(re.findall(r"^### (.+)$", changelog, flags=re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
